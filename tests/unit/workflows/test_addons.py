from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from app.errors import FatalError, NotFoundError
from app.workflows.addon import GROUPS, Addon, AddonFileError, Addons, parse_addon, read_addons


def words_of(text: str) -> list[str]:
    return text.split()


ADDONS = read_addons()
ALL = [ADDONS.find(name) for name in sorted(ADDONS.names)]
IN_THE_USERS_README = words_of("""
    blog_writing headline_optimization storytelling case_study
    email_campaigns ad_copy landing_page value_proposition
    instagram linkedin tiktok twitter
    business_proposal executive_presentation swot_analysis customer_persona
""")
IN_THE_REGISTRY = words_of("""
    blog_writing headline_optimization email_campaigns newsletter product_descriptions case_study
    storytelling repurposing
    value_proposition executive_summary seo_optimization ad_copy sales_script landing_page brand_messaging
    customer_journey aida_framework unique_selling_points competitor_analysis campaign_planning
    instagram linkedin tiktok twitter facebook youtube_scripts social_calendar hashtag_strategy community_management
    trend_adaptation
    meeting_agenda business_proposal executive_presentation swot_analysis customer_persona project_brief
    standard_operating_procedure okr_development problem_solution_framework decision_matrix
    email_response resume_enhancement cover_letter networking_message personal_bio time_management goal_setting
    learning_summary interview_prep feedback_framework
""")
OF_THE_TEMPLATES = {"research", "technical", "business", "writing", "creative", "marketing"}
NUMBERS = re.compile(r"\d+|\b(?:one|two|three|four|five|six|seven|eight|ten)\b")
SHINGLE = 4  # words
MOST_ALIKE = 0.05  # of the shingles of the two together; unrelated texts of this kind share hardly one
MOST_LINE_CHARACTERS = 260


def shingles(addon: Addon) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", " ".join(addon.instructions).lower())
    return set(zip(*(words[start:] for start in range(SHINGLE)), strict=False))


def test_there_are_the_fifty_of_the_users_and_the_six_of_the_templates() -> None:
    assert set(ADDONS.counted) == set(IN_THE_REGISTRY)
    assert len(ADDONS.counted) == 50
    assert ADDONS.names - set(ADDONS.counted) == OF_THE_TEMPLATES


def test_every_addon_of_the_users_readme_is_there() -> None:
    assert set(IN_THE_USERS_README) <= set(ADDONS.counted)


@pytest.mark.parametrize("addon", ALL, ids=lambda addon: addon.name)
def test_an_addon_is_ten_to_fifteen_lines_of_craft(addon: Addon) -> None:
    assert 10 <= len(addon.instructions) <= 15
    assert all(25 <= len(line) <= MOST_LINE_CHARACTERS for line in addon.instructions)
    assert len(NUMBERS.findall(" ".join(addon.instructions).lower())) >= 4, "hardly a number in it"
    assert any(line.startswith("Check") for line in addon.instructions[-1:]), "does not end with a check"
    assert addon.purpose
    assert "\n" not in addon.purpose


@pytest.mark.parametrize("addon", ALL, ids=lambda addon: addon.name)
def test_an_addon_says_nothing_that_looks_like_a_variable(addon: Addon) -> None:
    assert "{" not in addon.section()


def test_no_two_addons_are_alike() -> None:
    said = {addon.name: shingles(addon) for addon in ALL}
    for one, other in itertools.combinations(said, 2):
        alike = len(said[one] & said[other]) / len(said[one] | said[other])
        assert alike < MOST_ALIKE, f"{one} and {other} share {alike:.0%}"


def test_no_line_stands_in_two_addons() -> None:
    lines = [line for addon in ALL for line in addon.instructions]
    assert len(lines) == len(set(lines))


def test_the_counted_ones_stand_group_by_group() -> None:
    groups = [ADDONS.find(name).group for name in ADDONS.counted]
    assert groups == sorted(groups, key=GROUPS.index)


def test_a_file_is_named_as_its_addon() -> None:
    import app.workflows.addons

    folder = Path(str(app.workflows.addons.__file__)).parent
    names = {parse_addon(file.read_text(encoding="utf-8")).name: file.stem for file in folder.glob("*.md")}
    assert all(name == stem for name, stem in names.items())
    assert len(names) == 56


def test_sections_stand_in_the_tasks_order_each_once() -> None:
    text = ADDONS.sections(["twitter", "blog_writing", "twitter"])
    assert re.findall(r"^## (\w+): ", text, re.MULTILINE) == ["twitter", "blog_writing"]
    assert ADDONS.sections([]) == ""


def test_an_addon_that_is_gone_ends_the_step_and_one_that_never_was_is_not_found() -> None:
    with pytest.raises(FatalError) as gone:
        ADDONS.sections(["blog_writing", "telepathy"])
    assert gone.value.code == "unknown_addon"
    with pytest.raises(NotFoundError):
        ADDONS.find("telepathy")


@pytest.mark.parametrize(
    "text", ["", "# a\n\nGroup: g\nPurpose: p\n\n", "# a\n\nPurpose: p\nGroup: g\n\n- x\n", "- x\n"]
)
def test_a_file_that_is_no_addon_is_refused(text: str) -> None:
    with pytest.raises(AddonFileError):
        parse_addon(text)


def test_an_addon_of_a_group_of_ones_own_works_and_is_not_counted() -> None:
    own = Addons([Addon("ours", "House", "how we write", ("say it",))])
    assert own.counted == ()
    assert own.sections(["ours"]) == "## ours: how we write\n- say it"
