"""Faults of links between hosts and servers."""

from collections.abc import Iterator
from random import Random

from chaos_stand import Host
from ground import Ground, NotDone
from kinds import drawn, kind
from proxy import Way


def a_link(ground: Ground, chance: Random) -> tuple[str, Host]:
    """Draw a link: where it leads, and from which host."""
    host = drawn(ground, chance)
    return chance.choice(list(host.links)), host


@kind("link cut", 14, (0, 6))
def link_cut(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Cut a link that is in use; nothing gets through for a while."""
    where, host = a_link(ground, chance)
    with ground.alone(f"{host.name} to {where}"):
        link = host.links[where]
        found = link.sever()
        try:
            if not found:
                raise NotDone("nobody uses it")
            ground.sleep(s)
        finally:
            link.heal()
    yield f"{host.name} to {where}, {found} connections"


@kind("link slow", 10, (2, 8))
def link_slow(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Let everything on a link come later."""
    where, host = a_link(ground, chance)
    delay = chance.choice((0.05, 0.2, 0.5))
    with ground.alone(f"{host.name} to {where}"):
        link = host.links[where]
        link.slow(delay)
        ground.sleep(s)
        hit = link.hit
        link.heal()
    if not hit:
        raise NotDone("nobody uses it")
    yield f"{host.name} to {where} by {delay} s, {hit} times"


@kind("link one-way", 10, (1, 12))
def link_one_way(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Let nothing through in one direction of a link."""
    where, host = a_link(ground, chance)
    way = chance.choice(list(Way))
    with ground.alone(f"{host.name} to {where}"):
        link = host.links[where]
        link.hold(way)
        ground.sleep(s)
        hit = link.hit
        link.heal()
    if not hit:
        raise NotDone("nobody uses it")
    yield f"{host.name} to {where}, {way.name.lower()}"
