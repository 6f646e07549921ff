"""Theme: Gradio variables, styles, fonts, scripts.

Knows Gradio's variables and the folder of assets. Fonts are served from there, since those that Gradio ships lack
letters; nothing is fetched from another server. Our colours are the variables at the top of assets/studio.css.
"""

import inspect
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from annotations.schema.project import Role
from studio.page_list import PAGES

STUDIO = Path(__file__).parent
ASSETS = STUDIO / "assets"
# Folders whose styles no page of a visitor needs, and those of visitors' pages, which no other one of them needs.
NOT_FOR_VISITORS = (
    *("annotate", "arena", "calibration", "components/forms", "components/keys", "components/plots", "datasets"),
    *("moderation", "people", "projects", "results", "review", "training"),
)
VISITORS = {"image": "image", "compare": "compare", "gallery": "gallery", "auth": "sign-in"}  # folder: page
PRELOADED = ("studio-sans", "studio-serif")  # fonts of every page
# Until the page's own styles are there: the width of what is to come, and Gradio's sign of loading apart from it.
FIRST_STYLES = (
    ".gradio-container.gradio-container { box-sizing: border-box; width: 100%; max-width: 1240px; margin: 0 auto; "
    "padding: 0 clamp(16px, 4vw, 32px) 72px; } .gradio-container.gradio-container .main.fillable { padding: 0; } "
    ".gradio-container .nav-holder, .gradio-container footer { display: none; } "
    ".wrap.full.translucent { position: fixed; inset: 0; }"
)
# Of an error's page.
ERROR_STYLES = (
    "body { margin: 0 auto; max-width: 1240px; padding: 0 clamp(16px, 4vw, 32px); background: var(--paper); "
    "color: var(--ink); font: 400 18px/1.5 var(--sans); } header { padding: 18px 0 14px; "
    "border-bottom: 1px solid var(--line); } header a { display: inline-flex; color: inherit; "
    "gap: 10px; align-items: center; font: 600 22px/1.6 var(--serif); text-decoration: none; } "
    "header img { width: 24px; height: 24px; } main { max-width: 60ch; padding: 32px 0; } h1 { margin: 0; "
    "font: 600 32px/1.2 var(--serif); } p { overflow-wrap: anywhere; } a { color: var(--accent); } "
    "main p:last-child { display: flex; flex-wrap: wrap; gap: 12px 24px; align-items: center; } "
    ".button { padding: 11px 20px; border-radius: 4px; background: var(--accent); color: var(--on-accent); "
    "font-weight: 600; text-decoration: none; } a:focus-visible { outline: 2px solid var(--accent); "
    "outline-offset: 2px; }"
)
# Scripts that a page imports where it first needs them, and the names by which they are served.
MODULES = {f"components/timeline/{name}": name for name in ("finished.js", "thought_editor.js")}
COMMENT = re.compile(r"/\*.*?\*/", re.S)
SPACES = re.compile(r"\s*([{};,])\s*|\s+")  # of a style sheet, kept as one where they tell two words apart
PAPER, NIGHT = "#f8f4ea", "#1a1815"  # the page itself, needed before our styles have arrived


def script(*names: str) -> str:
    """The text of scripts, such as "annotate/annotate.js", for `js_on_load`: each knows the names of those before it,
    and all those of dom.js. Without indentation and lines of comment.
    """
    text = "".join((STUDIO / name).read_text("utf-8") for name in ("components/dom.js", *names))
    return _without_comments(text)


def module(name: str) -> str:
    """The address, below that of the site, of one of `MODULES`, named after its content."""
    return f"scripts/{MODULES[name]}?v={sha256(_module(name).encode()).hexdigest()[:16]}"


def _module(name: str) -> str:
    return _without_comments((STUDIO / name).read_text("utf-8"))


def _without_comments(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


async def _served_module(request: Request) -> Response:
    name = {file: name for name, file in MODULES.items()}.get(request.path_params["file"])
    return Response(status_code=404) if name is None else Response(_module(name), media_type="text/javascript")


# In the order in which a browser reads them: where two rules weigh the same, that of the later sheet holds.
STYLE_SHEETS = (
    "annotate/annotate.css",
    "arena/arena.css",
    "calibration/calibration.css",
    "compare/compare.css",
    "datasets/datasets.css",
    "draw/draw.css",
    "assets/elements.css",
    "components/forms/facts.css",
    "components/timeline/finished.css",
    "assets/fonts.css",
    "gallery/gallery.css",
    "image/image.css",
    "components/keys.css",
    "moderation/moderation.css",
    "components/timeline/outlines.css",
    "annotate/panels.css",
    "people/people.css",
    "components/timeline/player.css",
    "components/plots.css",
    "projects/projects.css",
    "components/forms/ranking.css",
    "components/forms/regions.css",
    "results/results.css",
    "review/review.css",
    "components/forms/sheet.css",
    "auth/sign_in.css",
    "assets/studio.css",
    "teaching/teaching.css",
    "components/timeline/thought_editor.css",
    "components/timeline/timeline.css",
    "training/training.css",
)


def styles(path: str) -> str:
    """The style sheets of the page at `path`, without comments and indentation; a visitor's page has not those of the
    other pages."""
    role = {page.path: page.role for page in PAGES}[path]
    others = [folder for folder, page in VISITORS.items() if page != path]
    left_out = [STUDIO / folder for folder in (*NOT_FOR_VISITORS, *others)] if role is Role.VISITOR else []
    files = [STUDIO / name for name in STYLE_SHEETS]
    texts = [file.read_text("utf-8") for file in files if not {file.parent, file.with_suffix("")} & {*left_out}]
    return SPACES.sub(lambda found: found[1] or " ", COMMENT.sub("", "".join(texts))).strip()


def error_styles() -> str:
    """The style sheet of an error's page: fonts, and the colours by day and, where the system is set so, by night."""
    text, fonts = (COMMENT.sub("", (ASSETS / name).read_text("utf-8")) for name in ("studio.css", "fonts.css"))
    day, night = (re.search(rf"^{name} {{(.*?)}}", text, re.S | re.M) for name in (":root", r"\.dark"))
    assert day and night
    sheet = f":root {{{day[1]}}} @media (prefers-color-scheme: dark) {{ :root {{{night[1]}}} }} {fonts} {ERROR_STYLES}"
    return SPACES.sub(lambda found: found[1] or " ", sheet).strip()


def head() -> str:
    """HTML for the head of every page: its fonts, which a browser fetches before it knows that it needs them, and where
    what comes later will stand, so that nothing jumps."""
    link = '<link rel="preload" href="./fonts/{}-english.woff2" as="font" type="font/woff2" crossorigin />'
    return "".join(map(link.format, PRELOADED)) + f"<style>{FIRST_STYLES}</style>"


def look() -> dict[str, Any]:
    """What `launch` must be given to look like this; `routes` is for the application. The styles of a page are added to
    it when it is rendered."""
    return {
        "theme": theme(),
        "favicon_path": ASSETS / "favicon.svg",
        "footer_links": [],
        "routes": [Mount("/fonts", StaticFiles(directory=ASSETS / "fonts")), Route("/scripts/{file}", _served_module)],
    }


def theme() -> gr.themes.Base:
    fonts = (gr.themes.Font("Studio Sans"), "system-ui", "sans-serif")
    mono = ("ui-monospace", "Consolas", "monospace")  # of Gradio's sign of loading, for which no font is fetched
    made = gr.themes.Base(
        primary_hue="indigo", neutral_hue="stone", radius_size="sm", spacing_size="md", font=fonts, font_mono=mono
    )
    return made.set(**_both(PLAIN), **_buttons(), body_background_fill=PAPER, body_background_fill_dark=NIGHT)


PLAIN = {
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--soft)",
    "background_fill_primary": "var(--sheet)",
    "background_fill_secondary": "var(--paper)",
    "block_background_fill": "transparent",
    "block_border_color": "var(--line)",
    "block_label_text_color": "var(--soft)",
    "block_title_text_color": "var(--soft)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--accent)",
    "color_accent_soft": "var(--wash)",
    "input_background_fill": "var(--sheet)",
    "input_background_fill_focus": "var(--sheet)",
    "input_border_color": "var(--edge)",
    "input_border_color_focus": "var(--accent)",
    "input_placeholder_color": "var(--soft)",
    "checkbox_background_color": "var(--sheet)",
    "checkbox_background_color_selected": "var(--accent)",
    "loader_color": "var(--accent)",
    "checkbox_border_color": "var(--edge)",
    "checkbox_border_color_focus": "var(--accent)",
    "checkbox_border_color_selected": "var(--accent)",
    "checkbox_label_background_fill": "transparent",
    "checkbox_label_background_fill_hover": "var(--wash)",
    "checkbox_label_background_fill_selected": "var(--wash)",
    "checkbox_label_text_color": "var(--ink)",
    "checkbox_label_text_color_selected": "var(--ink)",
    "link_text_color": "var(--accent)",
    "link_text_color_hover": "var(--ink)",
    "slider_color": "var(--accent)",
    "table_border_color": "var(--line)",
    "table_even_background_fill": "var(--sheet)",
    "table_odd_background_fill": "var(--sheet)",
    "code_background_fill": "var(--wash)",
    "error_background_fill": "var(--sheet)",
    "shadow_drop": "none",
    "block_shadow": "none",
    "input_shadow": "none",
    "input_shadow_focus": "0 0 0 3px var(--halo)",
}


def _buttons() -> dict[str, str]:
    kinds = {
        "button_primary_background_fill": "var(--accent)",
        "button_primary_background_fill_hover": "var(--accent-deep)",
        "button_primary_border_color": "var(--accent)",
        "button_primary_text_color": "var(--on-accent)",
        "button_secondary_background_fill": "transparent",
        "button_secondary_background_fill_hover": "var(--wash)",
        "button_secondary_border_color": "var(--edge)",
        "button_secondary_text_color": "var(--ink)",
        "button_cancel_background_fill": "transparent",
        "button_cancel_background_fill_hover": "var(--wash)",
        "button_cancel_border_color": "var(--no)",
        "button_cancel_text_color": "var(--no)",
    }
    plain = {"button_border_width": "1px", "block_border_width": "0px", "block_padding": "0px"}
    return _both(kinds) | plain


def _both(values: dict[str, str]) -> dict[str, str]:
    """Each value for light and for dark: our own variables change between them, Gradio's need not."""
    known = inspect.signature(gr.themes.Base.set).parameters
    return values | {f"{name}_dark": value for name, value in values.items() if f"{name}_dark" in known}
