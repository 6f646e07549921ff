"""Access table: routes, handlers and endpoints with the roles that may use them; those of pages are in `page_list`.

Middleware answers no other route than these, and no handler of a page that is for a role is called for anybody else.
Handlers ask `identity` themselves as well. A test walks all that is registered and fails where something is missing.
"""

import re
from typing import Any

from annotations.schema.project import Role
from studio.page_list import PAGES

API = "/gradio_api"

ROLES = {page.path: page.role for page in PAGES}  # of who may call the handlers of a page
ENDPOINTS = {  # for programs, by name
    "draw": Role.VISITOR,
    "judge": Role.VISITOR,
    "edit": Role.VISITOR,
    "trajectory": Role.VISITOR,
    "picture": Role.VISITOR,
    "import_records": Role.ADMIN,
}
# What a guest may call of the pages and endpoints of visitors, by name: what draws and stores nothing.
READ_ONLY_HANDLERS = {
    "gallery": ("narrowed", "newest_first", "turned", "opened", "linked"),
    "": ("aha_moment", "so_far_counted", "chosen", "plan_offered", "followed"),
}
READ_ONLY_ENDPOINTS = ("trajectory", "picture")
PAGE_EVENTS = (
    "load",
    "unload",
)  # events that decide for themselves what somebody is shown, and give back what was open

# GET (and HEAD): pages, what they are made of, and streams.
PAGE = re.compile(f"/({'|'.join(page.path for page in PAGES if page.path)})?/?")
STREAM = re.compile(rf"{API}/(queue/data|heartbeat/[^/]+|call(/v2)?/[^/]+/[^/]+|upload_progress|mcp(/|/http/?|/sse)?)")
READ = re.compile(
    r"/(config/?|theme\.css|favicon\.ico|robots\.txt|card\.png|animation\.webp|(assets|static|svelte|fonts|scripts)/.+|login/(huggingface|callback))"
    rf"|{API}/(info/?|openapi\.json|theme\.css|app_id/?|startup-events|queue/status|mcp/schema)"
)
SERVED_FILE = re.compile(rf"{API}/file=.+")
# POST: handlers of pages and endpoints, files, and the forms that sign in and out.
CALL = re.compile(
    rf"{API}/((run|api)/[^/]+/?|call(/v2)?/[^/]+/?|queue/join|cancel|reset/?|mcp(/|/http/?|/messages/?)?)"
)
UPLOAD = re.compile(rf"{API}/upload/?")
FORM = re.compile(r"/(enter|join|leave)")
MCP = re.compile(rf"{API}/mcp(/.*)?")
DELETE = re.compile(rf"{API}/mcp(/|/http/?)?")  # ends a session of MCP


def is_route(method: str, path: str) -> bool:
    """Whether anything answers there."""
    match method:
        case "GET" | "HEAD":
            return any(kind.fullmatch(path) for kind in (PAGE, STREAM, READ, SERVED_FILE))
        case "POST":
            return any(kind.fullmatch(path) for kind in (CALL, UPLOAD, FORM))
        case "DELETE":
            return DELETE.fullmatch(path) is not None
        case "OPTIONS":
            return True  # asks what it may do, of anything; the answer allows other sites nothing
    return False


def role_for(fn: Any) -> Role:
    """Who may call a handler (a gr.BlockFunction): everybody what happens when a page is opened or left.

    Raises KeyError for what is in no table.
    """
    events = {event for _, event in fn.targets}
    if events and events <= set(PAGE_EVENTS):
        return Role.VISITOR
    if not fn.targets and fn.api_name in ENDPOINTS:
        return ENDPOINTS[fn.api_name]
    return ROLES[fn.page]


def changes_nothing(fn: Any) -> bool:
    """Whether a handler of a page or an endpoint of visitors (a gr.BlockFunction) draws and stores nothing."""
    events = {event for _, event in fn.targets}
    if events and events <= set(PAGE_EVENTS):
        return True
    if not fn.targets and fn.api_name in ENDPOINTS:
        return fn.api_name in READ_ONLY_ENDPOINTS
    return getattr(fn.fn, "__name__", "") in READ_ONLY_HANDLERS.get(fn.page, ())
