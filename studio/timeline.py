"""The component that shows a trajectory while it happens, or again: one gr.HTML with a script of its own.

Its value is made by `render`; its event `anyway` says that a person wants a doubtful prompt drawn all the same.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.theme import script

# No template ever shows the value: the script puts it in place, as text.
TEMPLATE = """
<section class="timeline" aria-label="The drawing as it happens">
  <p class="notice" role="alert" hidden>
    <span></span><button type="button" class="anyway" hidden>Draw it anyway</button>
  </p>
  <div class="asked" hidden>
    <p class="label" hidden></p>
    <p class="prompt"></p>
    <p class="meta"></p>
  </div>
  <ol class="rounds"></ol>
  <p class="ending"></p>
  <p class="spoken sr-only" aria-live="polite"></p>
</section>
"""


def timeline(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """An empty timeline, or one that begins with `value`."""
    return gr.HTML(value, html_template=TEMPLATE, js_on_load=script("timeline.js"), apply_default_css=False, **options)
