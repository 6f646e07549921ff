"""The timeline component: a trajectory live or replayed, one gr.HTML with its script.

Its value is made by `render`; its event `anyway` says that a person wants a doubtful prompt drawn all the same,
`forget` that what was drawn shall be deleted, `follow` that a drawing is under way elsewhere, `change_mind` that
somebody changed a thought, a verdict or a patch and wants to go on from there.
"""

from typing import Any

import gradio as gr

from studio.theme import module, script

# No template ever shows the value: the script puts it in place, as text.
TEMPLATE = """
<section class="timeline"{flags} aria-label="{label}">
  <p class="notice" role="alert" hidden>
    <span dir="auto"></span><button type="button" class="nearest" hidden></button>
    <span class="choices" hidden></span><button type="button" class="anyway" hidden></button>
  </p>
  <div class="asked" hidden>
    <p class="label" hidden></p>
    <p class="prompt" dir="auto"></p>
    <p class="meta"></p>
    <p class="guess" dir="auto" hidden></p>
    <button type="button" class="how" aria-expanded="false">How it thought</button>
    <button type="button" class="skip" hidden>Skip to the end</button>
    <label class="pace">Pace
      <select class="least"><option value="0">as it comes</option><option value="1.5" selected>1.5 s a picture</option>
      <option value="4">4 s a picture</option></select>
    </label>
    <button type="button" class="close" hidden>Close</button>
  </div>
  <ol class="rounds"></ol>
  <p class="ending"></p>
  <div class="player" hidden>
    <button type="button" class="toggle">Pause</button>
    <input type="range" class="scrub" min="0" value="0" aria-label="How far the replay has come">
    <label>Speed
      <select class="speed"><option value="0.5">½×</option><option value="1" selected>1×</option>
      <option value="2">2×</option><option value="4">4×</option></select>
    </label>
  </div>
  <div class="after" hidden>
    <figure class="compare" hidden>
      <div class="picture"></div>
      <input type="range" class="wipe" min="0" max="100" value="50" aria-label="How much of the first picture is shown">
      <figcaption>
        <span class="sides"></span>
        <label><input type="checkbox" class="mark-changes"> <span class="changes"></span></label>
      </figcaption>
    </figure>
    <figure class="odds" hidden>
      <svg viewBox="0 0 240 132" role="img"></svg>
      <figcaption>How likely a yes was, drawing by drawing <span class="overruled" hidden>Ring: a person
      answered; its height is what the model thought</span></figcaption>
    </figure>
    <figure class="instead" hidden>
      <div class="pictures"></div>
      <figcaption>What looking was worth: its own redraw, and another seed instead</figcaption>
    </figure>
    <p class="keep">Keep <a class="png" download>the last picture (PNG)</a> <a class="animated" download>how
      it was drawn (WebP)</a> <a class="json" download>everything (JSON)</a></p>
  </div>
  <p class="spoken sr-only" aria-live="polite"></p>
</section>
"""

# In this order: the first has the state that the others read.
SCRIPTS = [
    "components/timeline/timeline.js",
    "components/timeline/player.js",
    "components/timeline/outlines.js",
    "components/timeline/drawing_actions.js",
]
FINISHED = "components/timeline/finished.js"  # fetched when a drawing has ended
EDITOR = "components/timeline/thought_editor.js"  # fetched where somebody changes something


def timeline(
    *, playable: bool = False, perturbations: bool = False, label: str = "The drawing as it happens", **options: Any
) -> gr.HTML:
    """An empty timeline, told apart from others of its page by its `label`; a playable one lets a visitor change the
    model's mind, and, with `perturbations`, have an object changed behind its back."""
    flags = f' data-finished="{module(FINISHED)}"' + " data-perturbations" * perturbations
    flags += f' data-playable data-editor="{module(EDITOR)}"' * playable
    template = TEMPLATE.replace("{flags}", flags).replace("{label}", label)
    scripts = [*SCRIPTS, "components/timeline/change_offers.js"] if playable else SCRIPTS
    return gr.HTML(html_template=template, js_on_load=script(*scripts), apply_default_css=False, **options)
