"""The pages say what the code does: every field, every leaf, every example."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

import resnet_core as rn
from node_kinds import COMBINATORS, LEAVES
from resnet_core.combinations import RULES
from resnet_core.preparation import FIELDS as PREPARATION
from resnet_core.preparation import standard_preparation
from resnet_core.spec_files import from_toml
from resnet_core.specification import FIELDS, ResNetSpec
from resnet_core.training.recipe import FIELDS as RECIPE
from resnet_core.training.recipe import Recipe
from resnet_core.zoo import FAMILIES, SOURCES, ZOO

ROOT = Path(__file__).parents[2]
SPEC_PAGE = (ROOT / "docs" / "spec.md").read_text()
SIDE_BY_SIDE = (ROOT / "backends" / "README.md").read_text()

EXAMPLES = {name: text for text in re.findall(r"```toml\n(.*?)```", SPEC_PAGE, re.S) for name in [from_toml(text).name]}

FIELD_TABLES, _, NAMED = SPEC_PAGE.partition("## The named networks")


def rows(text: str) -> dict[str, list[str]]:
    """{first cell: the others} of each row of all tables of a text."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return {first: rest for line in lines for first, *rest in [[cell.strip() for cell in line.strip("|").split("|")]]}


ROWS = rows(FIELD_TABLES)


def default_text(field: str, kind: type[msgspec.Struct] = ResNetSpec) -> str:
    """The default as TOML has it."""
    found = next(item for item in msgspec.structs.fields(kind) if item.name == field)
    if found.required:
        return "required"
    return f"`{json.dumps('none' if found.default is None else found.default)}`"


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_stands_on_the_page_with_its_default_and_what_it_allows(field: str) -> None:
    assert ROWS[f"`{field}`"][:2] == [default_text(field), FIELDS[field]]


def test_the_page_has_no_field_that_is_none() -> None:
    documented = {cell.strip("`") for cell, rest in ROWS.items() if len(rest) == 3 and rest[1] in FIELDS.values()}
    assert documented == set(FIELDS)


def test_the_examples_are_these_networks() -> None:
    same = {
        "resnet26_gray": rn.spec("resnet50", depths=[2, 2, 2, 2], classes=10, in_channels=1),
        "segmentation": rn.spec(
            "resnet_v2_101", classes=21, output_stride=16, global_pool=False, input_size=[513, 513]
        ),
        "cifar_option_a": rn.spec("resnet20"),
        "average_shortcuts": rn.spec("resnet50d"),
        "squeeze_and_excitation": rn.spec("seresnext50_32x4d", drop_path=0.1),
        "big_transfer": rn.spec("resnetv2_50x1_bit"),
    }
    assert list(EXAMPLES) == list(same)
    for name, text in EXAMPLES.items():
        assert from_toml(text) == rn.spec(same[name], name=name)


def test_every_rule_of_combinations_stands_on_the_page() -> None:
    table = SPEC_PAGE.split("## Invalid combinations")[1].split("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert [rule.field for rule in RULES if not any(row.startswith(f" `{rule.field}") for row in first)] == []


def test_every_family_stands_on_the_page_with_its_source_and_a_member() -> None:
    said = {family.strip("`"): (source, name.strip("`")) for family, (source, name) in rows(NAMED).items()}
    assert {family: source for family, (source, _) in said.items()} == SOURCES
    assert [family for family, (_, name) in said.items() if name not in FAMILIES[family]] == []


def test_the_stated_sizes_of_the_examples_are_right() -> None:
    stated = [int(number.replace(",", "")) for number in re.findall(r"has ([\d,]+)\s+parameters", SPEC_PAGE)]
    assert stated == [rn.totals(from_toml(text)).parameters for text in EXAMPLES.values()]
    assert rn.totals(from_toml(EXAMPLES["segmentation"])).output_shape == (33, 33, 21)


@pytest.mark.parametrize("kind", [kind.__name__ for kind in (*LEAVES, *COMBINATORS)])
def test_every_node_has_a_row_in_the_table_of_the_backends(kind: str) -> None:
    assert f"\n| `{kind}` |" in SIDE_BY_SIDE


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_the_stated_number_of_names_is_right(page: str) -> None:
    assert set(re.findall(r"\b(\d+) named\s+(?:networks|specs)", (ROOT / page).read_text())) == {str(len(ZOO))}


NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
NUMBERS += ["eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
NUMBERS += ["twenty", *(f"twenty-{number}" for number in NUMBERS[1:10])]
COUNTS = {"leaves": len(LEAVES), "combinators": len(COMBINATORS)}


def wrong_counts(text: str) -> list[str]:
    """What a text says about how many leaves and combinators there are, where it is wrong or says nothing."""
    stated = re.findall(rf"\b({'|'.join(NUMBERS)}|\d+)\s+(leaves|combinators)\b", text.lower())
    silent = [f"no number of {kind}" for kind in COUNTS if kind not in {kind for _, kind in stated}]
    return silent + [
        f"{number} {kind}" for number, kind in stated if number not in (NUMBERS[COUNTS[kind]], str(COUNTS[kind]))
    ]


@pytest.mark.parametrize("page", ["README.md", "backends/README.md", "resnet_core/tree.py"])
def test_the_stated_numbers_of_leaves_and_combinators_are_right(page: str) -> None:
    assert wrong_counts((ROOT / page).read_text()) == []


def test_a_wrong_number_of_leaves_is_caught() -> None:
    leaves, combinators = (NUMBERS[number] for number in COUNTS.values())
    assert wrong_counts(f"{leaves.title()} leaves and {combinators}\ncombinators") == []
    assert wrong_counts(f"Zero leaves and {combinators} combinators") == ["zero leaves"]
    assert wrong_counts(f"{leaves} leaves, and 99\ncombinators") == ["99 combinators"]
    assert wrong_counts("the leaves and the combinators") == ["no number of leaves", "no number of combinators"]


@pytest.mark.parametrize(
    "page",
    [
        *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "backends/README.md"),
        *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")),
    ],
)
def test_every_link_and_named_file_of_a_page_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    folder = (ROOT / page).parent
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)#:]+(?:#[^)]*)?)\)", text)]
    files = re.findall(r"`((?:resnet_core|backends|tests|docs|benchmarks)/[\w/.-]+\.\w+)`", text)
    missing = [link for link in links if link and not (folder / link).exists()]
    missing += [file for file in files if not (ROOT / file).exists()]
    assert missing == []


def headings(page: Path) -> set[str]:
    """The places of a page, as GitHub and the site name them."""
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def lost_anchors(page: Path) -> list[str]:
    """The links of a page that lead to a heading which is not there."""
    links = re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", page.read_text())
    targets = [((page.parent / file) if file else page, place) for file, place in links]
    return [f"{file.name}#{place}" for file, place in targets if file.suffix == ".md" and place not in headings(file)]


def test_every_heading_that_a_link_names_is_there() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("backends/*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
    assert sum(len(re.findall(r"\]\([^)]*#", page.read_text())) for page in pages) > 30
    assert [place for page in pages for place in lost_anchors(page)] == []


def test_a_heading_that_is_not_there_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# One, two\n[a](#one-two) [b](a.md#three)\n```sh\n# three\n```\n")
    assert lost_anchors(page) == ["a.md#three"]


PICTURES = (ROOT / "docs" / "pictures.md").read_text()


def test_every_field_of_a_recipe_stands_on_the_page_with_its_default_and_what_it_allows() -> None:
    table = rows((ROOT / "docs" / "training.md").read_text().split("## The fields of a recipe")[1].split("\n## ")[0])
    assert table == {f"`{field}`": [default_text(field, Recipe), allowed] for field, allowed in RECIPE.items()}


def test_every_field_of_a_preparation_stands_on_the_page() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PICTURES, re.M))
    assert {name: text for name, text in rows.items() if name in PREPARATION} == PREPARATION


def test_the_examples_of_preparations_are_what_their_names_say() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PICTURES, re.S)
    names: dict[str, object] = {}
    exec(program, names)
    assert names["torchvision"] == standard_preparation((224, 224), 3)
    assert str(names["keras_v2"]).startswith("stretched to 224 x 224 (bilinear), RGB, mean 0.5 0.5 0.5, deviation 0.5")
    assert str(names["caffe"]).startswith("stretched to 224 x 224 (bilinear), BGR, white is 255, mean 103.939")


def test_the_example_of_a_difference_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "programs.md").read_text(), re.S)
    exec(program, {})
    (said,) = re.findall(r"# (.*)$", program, re.M)
    assert capsys.readouterr().out.splitlines()[0] == said
