import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateNotFound, UndefinedError

from results.page import (
    environment,
    even,
    even_signed,
    extent,
    number,
    page_file,
    percent,
    signed,
    ticks,
)

HOSTILE = """</title></script><script>alert("1")</script><img src=x onerror='alert(2)'>"""


def made(content: str, **context: Any) -> str:
    """A page with this content in the frame."""
    frame = '{% extends "results/frame.html.j2" %}'
    charts = '{% import "results/charts.html.j2" as charts %}'
    blocks = f"{{% block title %}}{{{{ name }}}}{{% endblock %}}{{% block content %}}{content}"
    template = environment().from_string(f"{frame}{charts}{blocks}{{% endblock %}}")
    return template.render(**{"name": "A page", **context})


def drawn(call: str, **context: Any) -> str:
    [svg] = re.findall(
        r"<svg class=\"(?:interval|bar).*?</svg>", made(f"{{{{ {call} }}}}", **context)
    )
    return str(svg)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0, "0"),
        (0.0, "0"),
        (16, "16"),
        (1204, "1,204"),
        (28.8637, "28.9"),
        (12.0, "12.0"),
        (0.0695, "0.0695"),
        (0.007, "0.007"),
        (-0.0031, "−0.0031"),
        (-4.6453, "−4.65"),
        (123456.7, "123,457"),
    ],
)
def test_numbers_have_three_significant_digits_and_counts_are_whole(
    value: float | None, shown: str
) -> None:
    assert number(value) == shown


def test_signs_percents_and_even_numbers() -> None:
    assert [signed(x) for x in (0.5, -0.5, 0, None)] == ["+0.5", "−0.5", "0", "–"]
    assert [percent(0.125, 1), percent(-0.5), percent(None)] == ["12.5%", "−50%", "–"]
    assert [even(x) for x in (12.0, 2.5, 0.1, -4.0, 100.0)] == ["12", "2.5", "0.1", "−4", "100"]
    assert [even_signed(x) for x in (12.0, -8.0, None)] == ["+12", "−8", "–"]


def test_ticks_by_hand() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(-4.6, 4.8) == [-4, -2, 0, 2, 4]
    assert ticks(3, 3) == [3]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_inside_and_are_even(lower: float, span: float) -> None:
    marks = ticks(lower, lower + span)
    assert 2 <= len(marks) <= 7
    slack = 1e-6 * max(1.0, abs(lower), span)
    assert all(lower - slack <= mark <= lower + span + slack for mark in marks)


def test_an_extent_is_a_little_wider_and_never_empty() -> None:
    assert extent([0, 10, None], 0.1) == (-1, 11)
    assert extent([]) == (0, 1)
    assert extent([2.0, 2.0])[0] < 2 < extent([2.0, 2.0])[1]
    assert extent([0.0])[0] < 0 < extent([0.0])[1]


def test_a_page_is_one_file_that_asks_for_nothing() -> None:
    page = made("<p>text</p>")
    assert page_file("results", "page.css") in page
    assert page_file("results", "page.js") in page
    assert "default-src 'none'" in page
    links = re.findall(r"(?:src|href)\s*=\s*[\"']([^\"']*)", page)
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_the_policy_allows_the_script_of_the_page_and_no_other() -> None:
    import base64
    import hashlib

    page = made("")
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in page or f"'sha256-{digest}'" in page
    assert "script-src 'unsafe-inline'" not in page


def test_text_is_escaped_also_in_drawings() -> None:
    page = made(
        '{{ name }}<p title="{{ name }}">{{ charts.bar(1, 2, name) }}'
        "{{ charts.differences([{'value': 1, 'note': name}], name, name) }}"
        "{{ charts.line_chart([{'name': name, 'points': [{'x': 0, 'y': 1, 'note': name}]}], name,"
        " name, name, x_ticks=[{'x': 0, 'label': name}]) }}",
        name=HOSTILE,
    )
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;alert") > 5


def test_a_missing_name_is_an_error_not_a_blank() -> None:
    with pytest.raises(UndefinedError, match="nobody"):
        made("{{ nobody }}")


def test_a_missing_template_is_named() -> None:
    for name in ("results/none.html.j2", "nopackage/frame.html.j2", "frame.html.j2"):
        with pytest.raises(TemplateNotFound, match=re.escape(name)):
            environment().get_template(name)


def test_an_interval_stands_where_its_numbers_say() -> None:
    # 170 wide with 6 on either side: -1 at 6, 0 at 85, 1 at 164
    svg = drawn("charts.interval(0.5, 0, 1, -1, 1, tone='good', limit=-0.5)")
    assert 'class="interval good"' in svg
    assert '<circle cx="124.5"' in svg
    assert '<line class="zero" x1="85.0" x2="85.0"' in svg
    assert '<line class="limit" x1="45.5" x2="45.5"' in svg
    assert '<line class="range" x1="85.0" x2="164.0" y1="11"' in svg
    assert "<title>0.5 (0 to 1)</title>" in svg
    assert "beyond" not in svg


def test_an_end_outside_of_the_domain_is_an_arrow() -> None:
    svg = drawn("charts.interval(0.5, -3, 2, -1, 1)")
    assert svg.count("beyond") == 2
    assert '<line class="range" x1="6.0" x2="164.0" y1="11"' in svg


def test_a_value_without_an_interval_is_a_dot_and_no_value_a_dash() -> None:
    svg = drawn("charts.interval(0.5, none, none, -1, 1)")
    assert "<circle" in svg
    assert "<title>0.5</title>" in svg
    assert svg.count('class="range"') == 1  # of no length
    page = made("{{ charts.interval(none, none, none, -1, 1) }}")
    assert '<span class="none">–</span>' in page


def test_a_bar_is_as_long_as_its_share() -> None:
    assert '<rect width="25.0"' in drawn("charts.bar(5, 20)")
    assert '<rect width="0"' in drawn("charts.bar(0, 0)")


def test_a_curve_goes_through_its_points() -> None:
    page = made(
        "{{ charts.line_chart([{'name': 'a', 'points': [{'x': 0, 'y': 0}, {'x': 1, 'y': 1}]}],"
        " 'T', y_domain=(0, 1), width=400, height=240) }}"
    )
    [points] = re.findall(r'<polyline points="([^"]*)"', page)
    (x0, y0), (x1, y1) = [map(float, point.split(",")) for point in points.split()]
    assert (y0, y1) == (196.0, 10.0)  # 0 on the axis, 1 at the top
    assert 52 < x0 < x1 < 388


def test_style_and_script_are_in_the_package() -> None:
    folder = Path(__file__).parents[2] / "results" / "pages"
    for name in ("frame.html.j2", "charts.html.j2", "page.css", "page.js"):
        assert page_file("results", name) == (folder / name).read_text(encoding="utf-8")
