"""nginx configuration for several studios with one database behind one address.

    python -m studio.http.nginx 127.0.0.1:7860 127.0.0.1:7861 --name studio.example.org --root-path /aha

prints what belongs into nginx's `http { … }`, for example in /etc/nginx/conf.d/studio.conf. A browser stays with one
studio by a cookie that its first page sets, a program by its address: what Gradio holds of an open page (its queue,
uploads, a drawing under way) is in one process. Where that process ends, its requests go to another at once.
"""

import argparse
import sys
from collections.abc import Sequence

COOKIE = "aha_replica"
TEMPLATE = """\
map "$cookie_{cookie} $sent_http_content_type" $aha_new_replica {{    # a cookie for who opens a page without one
    "~^ text/html" "{cookie}=$request_id; Path={path}; HttpOnly; SameSite=Lax{secure}";
    default "";
}}
map $cookie_{cookie} $aha_replica {{
    "" $remote_addr;
    default $cookie_{cookie};
}}
upstream aha_studio {{
    hash $aha_replica consistent;        # the same studio for the same cookie; few move when one is added
{servers}
    keepalive 64;
}}
server {{
    listen {listen};
    server_name {name};
{tls}
    location {path} {{
        proxy_pass http://aha_studio;    # no path here: what the browser asks for is passed on whole
        add_header Set-Cookie $aha_new_replica;
        proxy_connect_timeout 2s;        # then another studio is asked
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_buffering off;
        proxy_read_timeout 1h;
        proxy_send_timeout 1h;
        proxy_request_buffering off;
        client_max_body_size 2100m;
    }}
}}
"""


def site(
    studios: Sequence[str],
    *,
    root_path: str = "",
    listen: str = "80",
    name: str = "_",
    certificate: tuple[str, str] | None = None,
) -> str:
    """The configuration for `studios` (HOST:PORT); `certificate` and its key as PEM files, for HTTPS."""
    pem, key = certificate or ("", "")
    return TEMPLATE.format(
        cookie=COOKIE,
        path=f"{root_path}/",
        servers="\n".join(f"    server {studio} max_fails=1 fail_timeout=5s;" for studio in studios),
        listen=f"{listen} ssl http2" if certificate else listen,
        name=name,
        tls=f"    ssl_certificate {pem};\n    ssl_certificate_key {key};" if certificate else "",
        secure="; Secure" if certificate else "",
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studio.http.nginx", description=__doc__.split("\n")[0])
    parser.add_argument("studios", nargs="+", metavar="HOST:PORT", help="where each studio listens")
    parser.add_argument("--root-path", default="", help="the path below which they are offered, such as /aha")
    parser.add_argument("--listen", help="port, or address and port (443 with --certificate, else 80)")
    parser.add_argument("--name", default="_", help="the name of the host")
    parser.add_argument("--certificate", nargs=2, metavar=("PEM", "KEY"), help="files, for HTTPS")
    arguments = parser.parse_args()
    if bad := [studio for studio in arguments.studios if not studio.rpartition(":")[2].isdecimal()]:
        sys.exit(f"nginx: got {bad[0]!r}, wanted HOST:PORT")
    certificate = tuple(arguments.certificate) if arguments.certificate else None
    listen = arguments.listen or ("443" if certificate else "80")
    options = {"root_path": arguments.root_path.rstrip("/"), "listen": listen, "name": arguments.name}
    print(site(arguments.studios, **options, certificate=certificate), end="")


if __name__ == "__main__":
    main()
