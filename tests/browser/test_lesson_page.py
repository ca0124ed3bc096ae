"""The lesson in a real browser: what a reader does, by pointer, by touch and by keyboard.

What they need, and when they are skipped: `tests/browsers.py`.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnet_core as rn
from resnet_core.data.shipped import FOLDER
from resnet_core.lessons.live import Live, live
from resnet_core.prediction.network import trained_network

#: What the page's logits may be away from the reference's.
ALLOWED = 1e-4

SIZES = {"phone": 390, "laptop": 1440, "projector": 1920}

SHOWN = "[...document.querySelectorAll('.view')].filter(view => !view.hidden).map(view => view.id)"
CUT_FORMULAS = """
[...document.querySelectorAll("math")]
  .filter((math) => math.firstChild.getBoundingClientRect().width > math.parentElement.clientWidth + 1)
  .map((math) => math.textContent)
"""
LIT = "[...document.querySelectorAll('.l.on')].map(line => line.id)"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lesson") / "lesson.html"
    path.write_text(rn.lesson("resnet18", train=True, measured=False))
    return path


@pytest.fixture(scope="module")
def shipped() -> Live:
    return live(trained_network(FOLDER / "fashion_resnet20.safetensors"), shipped=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, shipped: Live) -> dict[str, Path]:
    """{language: the page of the network that ships}, which is computed once for both."""
    folder = tmp_path_factory.mktemp("running")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(import_module("resnet_core.lessons.lesson"), "live", lambda *_, **__: shipped)
        for language in ("en", "zh"):
            (folder / f"{language}.html").write_text(rn.lesson("resnet20", measured=False, language=language))
    return {language: folder / f"{language}.html" for language in ("en", "zh")}


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


def until(page: Any, condition: str) -> None:
    """Wait until the expression is true. Playwright's own way is evaluated in the page, which forbids that."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not within ten seconds: {condition}")


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


def test_an_address_of_a_layer_opens_its_formula_and_not_its_row(browser: Any, file: Path) -> None:
    page = visit(browser, file, "#stage1.block1.conv2")
    assert page.evaluate(SHOWN) == ["stage1.block1", "layer"]
    until(page, "document.querySelector('.picture').getBoundingClientRect().top < innerHeight")
    page.wait_for_timeout(300)
    assert page.locator("a[href='#stage1.block1.conv2'].el").is_visible()
    assert page.evaluate("document.querySelector('#layer').getBoundingClientRect().top < innerHeight")
    assert page.evaluate("document.querySelector('#layer').getBoundingClientRect().bottom > 0")
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
    page.click("a[href='#stage1.block1.conv2'].el")  # a layer is then its row in the table
    assert page.evaluate("document.querySelector(':target').dataset.layer") == "stage1.block1.conv2"
    assert page.is_visible(".l:has-text('sliding_window_view')")
    assert page.trouble == []


def logits(page: Any) -> np.ndarray:
    return np.array(json.loads(page.get_attribute("#live-classes", "data-logits")))


def choose(page: Any, selector: str, value: str) -> np.ndarray:
    """The logits after a choice."""
    page.evaluate("document.querySelector('#live-classes').removeAttribute('data-logits')")
    page.select_option(selector, value)
    page.wait_for_selector("#live-classes[data-logits]")
    return logits(page)


def test_the_network_gives_the_logits_of_the_reference(browser: Any, running: dict[str, Path], shipped: Live) -> None:
    page = visit(browser, running["en"])
    page.wait_for_selector("#live-classes[data-logits]")
    for number in (0, 1, 42, 99):
        assert np.abs(choose(page, "#live-sample", str(number)) - shipped.logits[number]).max() < ALLOWED
    assert shipped.classes is not None
    first = page.inner_text("#live-classes tr:first-child th")
    assert first == shipped.classes[int(shipped.logits[99].argmax())]
    assert page.trouble == []


def test_a_network_for_colors_prepares_the_photo_as_its_weights_say(browser: Any, tmp_path: Path) -> None:
    spec = rn.spec("resnet20", depths=[1, 1], channels=[8, 16], classes=3)
    preparation = rn.Preparation(
        size=(24, 20), channel_order="bgr", white=255.0, mean=(103.9, 116.8, 123.7), deviation=(57.0, 58.0, 59.0)
    )
    rn.save_weights(tmp_path / "w.safetensors", rn.probe_weights(spec), spec, preparation=preparation)
    found = live(trained_network(tmp_path / "w.safetensors"))
    (tmp_path / "page.html").write_text(rn.lesson(spec, weights=tmp_path / "w.safetensors", measured=False))
    page = visit(browser, tmp_path / "page.html")
    page.wait_for_selector("#live-classes[data-logits]")
    scale = np.abs(found.logits).max()
    assert np.abs(logits(page) - found.logits[0]).max() < 1e-6 * scale
    page.click("#live-invert")
    assert np.abs(logits(page) - found.logits[0]).max() > 1e-3 * scale
    page.click("#live-invert")
    assert np.abs(logits(page) - found.logits[0]).max() < 1e-6 * scale
    assert page.trouble == []


def test_a_wrong_number_in_the_page_is_seen_in_its_logits(
    browser: Any, running: dict[str, Path], shipped: Live, tmp_path: Path
) -> None:
    text, bias = running["en"].read_text(), '["bias",144,160]'  # of the first convolution
    assert text.count(bias) == 1
    wrong = tmp_path / "wrong.html"
    wrong.write_text(text.replace(bias, '["bias",145,161]'))
    page = visit(browser, wrong)
    page.wait_for_selector("#live-classes[data-logits]")
    assert np.abs(logits(page) - shipped.logits[0]).max() > ALLOWED


def test_a_block_is_skipped_live_and_made_whole_again(browser: Any, running: dict[str, Path], shipped: Live) -> None:
    page = visit(browser, running["en"])
    page.wait_for_selector("#live-classes[data-logits]")
    block = "[data-block='stage2.block2']"
    skipped, cut = choose(page, block, "skip"), choose(page, block, "cut")
    assert "the whole network says: Ankle boot" in page.inner_text("#live-said")
    assert min(np.abs(skipped - shipped.logits[0]).max(), np.abs(cut - skipped).max()) > 0.1
    page.click("#live-reset")
    assert np.abs(logits(page) - shipped.logits[0]).max() < ALLOWED
    assert page.trouble == []


def test_feature_maps_follow_the_picture_of_the_network(browser: Any, running: dict[str, Path]) -> None:
    page = visit(browser, running["en"])
    page.wait_for_selector("#live-classes[data-logits]")
    assert page.inner_text("#live-range").startswith("28 × 28 × 16:")
    for target in ("stage3", "stage3.block1", "stage3.block1.norm1"):
        page.click(f".view:not([hidden]) a[href='#{target}']")
    assert page.input_value("#live-layer") == "stage3.block1.conv1"  # its norm is in it
    assert page.inner_text("#live-range").startswith("7 × 7 × 64:")
    assert page.trouble == []


def test_a_picture_of_ones_own(browser: Any, running: dict[str, Path], shipped: Live, tmp_path: Path) -> None:
    page = visit(browser, running["en"])
    page.wait_for_selector("#live-classes[data-logits]")
    Image.fromarray(shipped.pictures[7, ..., 0]).save(tmp_path / "sneaker.png")
    page.set_input_files("#live-file", tmp_path / "sneaker.png")
    until(page, "document.querySelector('#live-sample').value === ''")
    assert np.abs(logits(page) - shipped.logits[7]).max() < ALLOWED
    page.click("#live-invert")
    page.click("#live-invert")
    assert np.abs(logits(page) - shipped.logits[7]).max() < ALLOWED
    (tmp_path / "none.png").write_bytes(b"no picture")
    page.set_input_files("#live-file", tmp_path / "none.png")
    until(page, "document.querySelector('#live-said').textContent.includes('no picture')")
    page.click("#live-draw")
    black = logits(page)
    page.locator("#live-picture").scroll_into_view_if_needed()
    box = page.locator("#live-picture").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 170, steps=4)
    page.mouse.up()
    page.wait_for_timeout(400)
    assert np.abs(logits(page) - black).max() > 0.1
    assert page.trouble == []


def test_a_shortcut_is_taken_away_and_a_count_is_checked(browser: Any, running: dict[str, Path]) -> None:
    page = visit(browser, running["en"])
    assert not page.locator("#degradation g[data-curve=plain]").is_visible()
    page.click("#take-away")
    assert page.locator("#degradation g[data-curve=plain]").is_visible()
    for guess, said in (
        ("many", "Enter a whole number."),
        ("1000", "Too few"),
        ("464,154", "Right."),
        ("9999999", "Too many"),
    ):
        page.fill("#exercise-guess", guess)
        page.keyboard.press("Enter")
        assert said in page.inner_text("#exercise-said")
    assert page.trouble == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_every_screen_in_both_languages(
    browser: Any, running: dict[str, Path], language: str, size: str
) -> None:
    page = visit(browser, running[language], width=SIZES[size])
    page.wait_for_selector("#live-classes[data-logits]")
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size]
    assert page.evaluate(CUT_FORMULAS) == []
    assert page.evaluate("document.documentElement.lang") == {"en": "en", "zh": "zh-Hans"}[language]
    assert page.trouble == []


def barriers(page: Any, axe: str) -> list[Any]:
    """The rules that axe finds broken, and where."""
    page.evaluate(axe)
    return page.evaluate("axe.run(document).then(found => found.violations.map(v => [v.id, v.nodes.map(n => n.html)]))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_axe_finds_no_barrier(browser: Any, axe: str, running: dict[str, Path], language: str, scheme: str) -> None:
    page = visit(browser, running[language], color_scheme=scheme)
    page.wait_for_selector("#live-classes[data-logits]")
    page.click("#take-away")
    page.evaluate("document.querySelector('.answer').open = true")
    assert barriers(page, axe) == []


#: A spec as a reader writes one.
OWN = """
name = "mine"
block = "bottleneck"
depths = [2, 1, 3]
channels = [24, 40, 72]
stem_channels = 24
stem_type = "deep"
attention = "se"
activation = "silu"
shortcut_pool = "average"
classes = 7
input_size = 65
"""


@pytest.mark.parametrize("spec", ["resnet50", "resnet_v2_50", "resnet18_d2l", "mine.toml"])
def test_the_page_of_any_network_opens_on_a_phone_without_a_barrier(
    browser: Any, axe: str, spec: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(OWN)
    (tmp_path / "page.html").write_text(rn.lesson(str(tmp_path / spec) if "." in spec else spec, measured=False))
    page = visit(browser, tmp_path / "page.html", width=SIZES["phone"])
    page.wait_for_selector("[data-sum=numpy].yes")
    assert page.locator("[data-sum].yes").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES["phone"]
    for target in ("stage1", "stage1.block1", "stage1.block1.conv2"):
        page.click(f".view:not([hidden]) a[href='#{target}']")
    assert page.is_visible("#layer math")
    assert barriers(page, axe) == []
    assert page.trouble == []


def test_it_prints(browser: Any, running: dict[str, Path]) -> None:
    page = visit(browser, running["zh"])
    page.wait_for_selector("#live-classes[data-logits]")
    assert page.pdf()[:5] == b"%PDF-"


def test_without_javascript_the_network_says_what_it_needs(browser: Any, running: dict[str, Path]) -> None:
    page = visit(browser, running["en"], java_script_enabled=False)
    assert page.is_visible("p.nojs:has-text('Running it needs JavaScript')")
    assert not page.is_visible("#network")
    assert page.locator("#degradation g[data-curve=plain]").is_visible()
    assert page.is_visible("summary:has-text('The answer')")
    assert page.trouble == []
