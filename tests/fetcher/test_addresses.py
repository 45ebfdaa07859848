"""What may be reached: anything public at the usual ports, and what an operator allows besides."""

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.fetcher.web.addresses import is_public, parse_rules

PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",  # carrier-grade NAT
    "169.254.169.254",  # metadata of clouds
    "192.0.2.1",
    "198.18.0.1",
    "192.88.99.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # the long obsolete form, which Python takes for global
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:a00:1::1",
    "2001::1",  # Teredo
    "2001:db8::1",
    "fc00::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "100::1",
    "4000::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_for_everybody_is_not_reached(address: str):
    assert not is_public(ip_address(address))
    assert not parse_rules([]).permits("example.org", address, 443)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_reached_at_the_usual_ports_alone(address: str):
    assert [port for port in (22, 80, 443, 8080) if parse_rules([]).permits("example.org", address, port)] == [80, 443]


@settings(deadline=None)
@given(st.ip_addresses(v=4, network="127.0.0.0/8") | st.ip_addresses(v=4, network="10.0.0.0/8"))
def test_no_way_to_write_a_private_address_as_ipv6_makes_it_public(address: IPv4Address):
    number = int(address)
    for form in (
        f"::ffff:{address}",
        f"::{address}",
        f"64:ff9b::{address}",
        str(ip_address((0x2002 << 112) | (number << 80))),
    ):
        assert not is_public(ip_address(form)), form


@pytest.mark.parametrize(
    ("allowance", "host", "address", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", "127.0.0.1", 8080),
        ("127.0.0.1:8080", "any.name", "::ffff:127.0.0.1", 8080),
        ("10.1.0.0/16", "wiki", "10.1.2.3", 443),
        ("10.1.0.0/16:8080", "wiki", "10.1.2.3", 8080),
        ("wiki.lan", "WIKI.lan.", "10.9.9.9", 80),
        ("wiki.lan:8443", "wiki.lan", "10.9.9.9", 8443),
        ("fd00::/8", "wiki", "fd00::1", 80),
        ("[fd00::/8]:8080", "wiki", "fd00::1", 8080),
        ("[::1]:8080", "localhost", "::1", 8080),
        ("8.8.8.8:53", "dns", "8.8.8.8", 53),
    ],
)
def test_an_operator_allows_a_host_or_a_network_at_one_port_or_the_usual_ones(
    allowance: str, host: str, address: str, port: int
):
    assert parse_rules([allowance]).permits(host, address, port)
    assert not parse_rules([allowance]).permits(host, address, port + 1)
    assert not parse_rules([allowance]).permits("elsewhere", "127.0.0.2", port)


@pytest.mark.parametrize("text", ["", " ", "a b", "host:", "host:0", "host:70000", "[fd00::", "[nonsense]:80", "a:b:c"])
def test_an_allowance_that_names_nothing_is_refused(text: str):
    with pytest.raises(ValueError, match=r"names no host or network|is no IPv6"):
        parse_rules([text])
