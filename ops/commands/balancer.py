"""`quizstream balancer config`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

balancer = typer.Typer(
    name="balancer", help="Put nginx before several edges as their load balancer.", no_args_is_help=True
)


@balancer.callback()
def _group() -> None:
    """Make the command a group: it has a single command."""


@balancer.command()
def config(
    edge: Annotated[
        list[str] | None,
        typer.Option(
            help="HOST:PORT or HOST:PORT=WEIGHT of an edge; repeat it. Default: those of this home."
        ),
    ] = None,
    listen: Annotated[
        list[str] | None, typer.Option(help="Address to listen on; repeat it. Default: 0.0.0.0 and [::].")
    ] = None,
    port: Annotated[int, typer.Option(help="Port for HTTP; with TLS it redirects.")] = 80,
    tls_port: Annotated[int, typer.Option(help="Port for HTTPS and HTTP/2.")] = 443,
    certificate: Annotated[
        Path | None,
        typer.Option(envvar="QUIZSTREAM_TLS_CERTIFICATE", help="PEM with the whole chain; turns TLS on."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(envvar="QUIZSTREAM_TLS_KEY", help="PEM with the certificate's key.")
    ] = None,
    name: Annotated[list[str] | None, typer.Option(help="Host name that clients use; repeat it.")] = None,
    proxy_protocol: Annotated[
        bool, typer.Option("--proxy-protocol", help="Clients come through a balancer that sends it.")
    ] = False,
    before: Annotated[
        list[str] | None,
        typer.Option(help="Network of balancers before this one, whose word about the client counts."),
    ] = None,
    internal: Annotated[
        list[str] | None,
        typer.Option(help="Network that may read metrics, health and schemas. Default: loopback."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="For pid, error log and buffers; must exist.")] = Path(
        "/run/quizstream"
    ),
    access_log: Annotated[Path, typer.Option(help="Log of requests, without personal data.")] = Path(
        "/var/log/nginx/quizstream.log"
    ),
    output: Annotated[Path | None, typer.Option(help="Write the file instead of printing it.")] = None,
) -> None:
    """Write a complete configuration of nginx (1.22 or later) from `balancer` and `edge` in topology.yaml.

    It chooses an edge for each request by weight, keeps connections to edges, ends TLS, limits sizes, waiting
    and requests at once, gives each request an id, and never repeats a POST that an edge may have received.
    `edge.sources.proxies` must hold the address from which nginx calls the edges: else they count all clients
    as one. docs/balancer.md explains every choice.

    Exit codes: 0 written, 2 an option or topology.yaml cannot be used.

    Examples:

      quizstream up --edges 4 && quizstream balancer config --port 8080 --folder /tmp --access-log /tmp/a.log

      quizstream balancer config --edge 10.0.0.5:8600=3 --edge 10.0.0.6:8600 --name quiz.example \\
      --certificate /etc/ssl/quiz.pem --key /etc/ssl/quiz.key --output /etc/nginx/quizstream.conf

      nginx -t -c /etc/nginx/quizstream.conf && nginx -s reload -c /etc/nginx/quizstream.conf
    """
    from ops.balancer.nginx import render, untrusted
    from ops.balancer.place import InvalidPlace, Place, Server, Tls, servers
    from ops.deployment.doctor import edges_of
    from ops.locate import find

    found = find()
    if (certificate is None) != (key is None):
        raise InvalidPlace("TLS needs both --certificate and --key.")
    ports, edges = found.settings.ports, edges_of(found.settings)
    own = [ports.edge] if edges == 1 else [ports.edge_own(number) for number in range(edges)]
    chosen = servers(edge) if edge else tuple(Server(f"127.0.0.1:{one}") for one in own)
    place = Place(
        chosen,
        port,
        addresses=tuple(listen or Place.addresses),
        tls=None if certificate is None or key is None else Tls(tls_port, certificate, key),
        names=tuple(name or ()),
        proxy_protocol=proxy_protocol,
        before=tuple(before or ()),
        internal=tuple(internal or Place.internal),
        folder=folder,
        access_log=access_log,
    )
    text = render(found.topology, place)
    if output is None:
        print(text, end="")
    else:
        output.write_text(text)
    if untrusted(found.topology, chosen):
        typer.echo(
            "edge.sources.proxies does not hold 127.0.0.1: the edges count every client of nginx as one.",
            err=True,
        )
