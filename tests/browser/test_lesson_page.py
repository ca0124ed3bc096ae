"""The lesson in a real browser: what a reader does, by pointer, by touch and by keyboard.

It needs Playwright for Python and a Chromium on the path; the tests are skipped where one is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import resnet_core as rn

playwright = pytest.importorskip("playwright.sync_api", reason="the lesson's browser tests need playwright")
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="the lesson's browser tests need a chromium on the path")

SHOWN = "[...document.querySelectorAll('.view')].filter(view => !view.hidden).map(view => view.id)"
LIT = "[...document.querySelectorAll('.l.on')].map(line => line.id)"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lesson") / "lesson.html"
    path.write_text(rn.lesson("resnet18", train=True, measured=False))
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def visit(browser: Any, file: Path, place: str = "", *, width: int = 1400, **options: Any) -> Any:
    """A page of its own, whose errors and requests are collected in `page.trouble`."""
    context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce", **options)
    page = context.new_page()
    page.trouble = []
    page.on("console", lambda message: page.trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.on("request", lambda request: page.trouble.append(request.url) if "file://" not in request.url else None)
    page.goto(file.as_uri() + place)
    return page


def test_a_way_in_and_back(browser: Any, file: Path) -> None:
    page = visit(browser, file)
    assert page.evaluate(SHOWN) == ["overview"]
    for target, views in (
        ("stage2", ["stage2"]),
        ("stage2.block1", ["stage2.block1"]),
        ("stage2.block1.conv2", ["stage2.block1", "layer"]),
    ):
        page.click(f".view:not([hidden]) a[href='#{target}']")
        assert page.evaluate(SHOWN) == views
    assert "128 × 128 × 3 × 3 = 147,456" in page.inner_text("#layer")
    lit = page.evaluate(LIT)
    assert {line.partition("-")[0] for line in lit} == {"torch", "keras", "flax", "numpy"}
    assert all("conv2" in page.text_content(f"#{line}") for line in lit)
    page.go_back()
    assert page.evaluate(SHOWN) == ["stage2.block1"]
    page.keyboard.press("Escape")
    assert page.evaluate(SHOWN) == ["stage2"]
    page.click(".crumbs a[href='#overview']")
    assert page.evaluate(SHOWN) == ["overview"]
    assert page.trouble == []


def test_a_line_lights_its_box_and_leads_to_it(browser: Any, file: Path) -> None:
    page = visit(browser, file)
    line = page.locator("[data-backend=torch] .l", has_text="self.stage3 = stage(").first
    line.hover()
    assert page.get_attribute("a[href='#stage3'].el", "class").split() == ["el", "on"]
    page.locator("[data-backend=keras] .l", has_text="_shortcut_conv").first.click()
    assert page.evaluate(SHOWN) == ["stage2.block1"]
    assert "on" in page.get_attribute("a[href='#stage2.block1.shortcut.conv'].el", "class").split()
    assert page.trouble == []


def test_the_keyboard_alone(browser: Any, file: Path) -> None:
    page = visit(browser, file)
    page.focus("pre[data-column=torch][tabindex]")
    page.keyboard.press("ArrowDown")
    assert "line 1:" in page.inner_text("#status")
    steps = 0
    while "block.conv1" not in page.inner_text("#status"):
        page.keyboard.press("ArrowDown")
        assert (steps := steps + 1) < 80
    page.keyboard.press("Enter")
    assert page.evaluate(SHOWN) == ["stage1.block1"]
    page.focus("a[href='#stage1.block1.conv2'].el")
    assert len(page.evaluate(LIT)) >= 4
    page.keyboard.press("Enter")
    assert page.evaluate(SHOWN) == ["stage1.block1", "layer"]
    assert page.trouble == []


def test_two_to_four_programs(browser: Any, file: Path) -> None:
    page = visit(browser, file)

    def shown() -> list[str]:
        return page.evaluate(
            "[...document.querySelectorAll('#row-block .cell')].filter(c => !c.hidden).map(c => c.dataset.backend)"
        )

    assert shown() == ["torch", "keras"]
    page.click("button[data-backend=keras]")  # the fewest
    assert shown() == ["torch", "keras"]
    page.click("button[data-backend=numpy]")
    page.click("button[data-backend=flax]")
    assert shown() == ["torch", "keras", "flax", "numpy"]
    page.click("button[data-backend=keras]")
    assert shown() == ["torch", "flax", "numpy"]
    page.click("#only")
    seen = page.evaluate("[...document.querySelectorAll('.l')].filter(l => l.offsetParent && !l.dataset.diff).length")
    assert seen == 0
    assert page.is_visible(".l:has-text('eps=1e-5')")
    assert page.trouble == []


def test_a_phone_shows_one_program_and_scrolls_only_down(browser: Any, file: Path) -> None:
    page = visit(browser, file, "#stage1.block1", width=320, has_touch=True, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.tap("button[data-backend=flax]")
    assert page.locator(".cell:visible h4").all_inner_texts()[0] == "Flax (NNX)"
    assert len(set(page.locator(".cell:visible h4").all_inner_texts())) == 1
    page.tap("a[href='#stage1.block1.conv1'].el")
    assert page.evaluate(SHOWN) == ["stage1.block1", "layer"]
    assert page.trouble == []


def test_the_page_counts_its_programs_and_refuses_a_changed_one(browser: Any, file: Path, tmp_path: Path) -> None:
    page = visit(browser, file)
    page.wait_for_selector("[data-sum=numpy].yes")
    assert page.locator("[data-sum].yes").count() == 4
    changed = tmp_path / "changed.html"
    text = file.read_text()
    assert "eps=<i class=n>1e-5</i>" in text
    changed.write_text(text.replace("eps=<i class=n>1e-5</i>", "eps=<i class=n>1e-3</i>", 1))
    page = visit(browser, changed)
    page.wait_for_selector("[data-sum=torch].no")
    assert page.locator("[data-sum].yes").count() == 3


def test_everything_is_there_without_javascript(browser: Any, file: Path) -> None:
    page = visit(browser, file, java_script_enabled=False)
    assert page.is_visible("[id='stage4.block2'] svg")
    assert page.is_visible(".l:has-text('sliding_window_view')")
    assert page.trouble == []
