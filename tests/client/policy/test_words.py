import random
from datetime import timedelta

import pytest

from fl_client.policy import hours, phrases, week_words, words
from fl_client.policy.rules import COMPANY_DEFAULTS, Rules
from tests.client.policy.machines import NOW, random_hours, random_rules

WORKDAYS = ("mon", "tue", "wed", "thu", "fri")
WEEKEND = dict.fromkeys(("sat", "sun"), ("00:00-24:00",))
AT_NIGHT = dict.fromkeys(WORKDAYS, ("18:00-08:00",))


def test_the_effective_rule_is_one_sentence():
    rules = Rules(
        train_while_in_use=False,
        idle_minutes=15,
        on_battery=False,
        hours={**AT_NIGHT, **WEEKEND},
        cores_share_idle=50,
        gpu="idle",
        exclusive_programs=["Zoom"],
    )
    assert words.sentence(rules) == (
        "Trains when nobody has used this machine for 15 minutes, only on mains power, Mon–Fri "
        "18:00–08:00 and all weekend, with at most half of the cores; the GPU only while you are away; "
        "never while Zoom runs."
    )


def test_the_defaults_in_words():
    assert words.sentence(COMPANY_DEFAULTS) == (
        "Trains when nobody has used this machine for 15 minutes (5 minutes after a short visit), only "
        "on mains power, never over a metered network, with at most 90 % of the memory and niceness 10; "
        "stops when other programs use more than 50 % of the processor or less than 1 GB of memory is "
        "free; the GPU only while you are away."
    )


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, "Trains whenever there is work."),
        ({"train_while_in_use": True}, "Trains also while you use this machine."),
        ({"train_while_in_use": False}, "Trains when nobody is using this machine."),
        (
            {"train_while_in_use": True, "idle_minutes": 10, "resume_minutes": 5},
            "Trains also while you use this machine and counts you as away after 10 minutes (5 minutes "
            "after a short visit).",
        ),
        ({"hours": {}}, "Never trains: no hour of the week is allowed."),
        ({"hours": dict.fromkeys(hours.DAYS, ("00:00-24:00",))}, "Trains whenever there is work."),
        (
            {"hours": WEEKEND, "stop_starting_minutes": 30, "clear_minutes": 10},
            "Trains whenever there is work, all weekend (nothing new in the last 30 minutes, gone 10 "
            "minutes before the end).",
        ),
        ({"on_battery": True}, "Trains whenever there is work, also on battery."),
        ({"battery_floor": 40}, "Trains whenever there is work, on battery down to 40 %."),
        ({"metered_networks": True}, "Trains whenever there is work, also over metered networks."),
        (
            {"networks_denied": ["Guest", "Train"]},
            "Trains whenever there is work, not on the networks Guest or Train.",
        ),
        (
            {"cores_share_in_use": 25, "cores_share_idle": 75},
            "Trains whenever there is work, with at most a quarter of the cores while you use it and "
            "three quarters of the cores while you are away.",
        ),
        (
            {"ram_share_in_use": 30},
            "Trains whenever there is work, with at most 30 % of the memory while you use it.",
        ),
        (
            {"other_cpu_idle": 50, "max_temperature": 85},
            "Trains whenever there is work; stops when other programs use more than 50 % of the "
            "processor or the processor is hotter than 85 °C.",
        ),
        ({"gpu": "never", "gpu_free_gb": 1}, "Trains whenever there is work; never the GPU."),
        ({"gpu": "always"}, "Trains whenever there is work; the GPU at any time."),
        ({"gpu_allow": [0, 2]}, "Trains whenever there is work; of the GPUs only number 0 and number 2."),
        (
            {"gpu": "idle", "gpu_free_gb": 1.5, "other_gpu": 20},
            "Trains whenever there is work; the GPU only while you are away, leaving 1.5 GB of its "
            "memory free, not while other programs load it by more than 20 %.",
        ),
        (
            {"exclusive_programs": ["Zoom", "Teams", "Blender"]},
            "Trains whenever there is work; never while Blender, Teams or Zoom runs.",
        ),
    ],
)
def test_only_what_the_rules_say_is_said(rules, said):
    assert words.sentence(Rules(**rules)) == said


def test_whatever_the_rules_the_sentence_is_one_sentence():
    rng = random.Random(7)
    sentences = [words.sentence(random_rules(rng)) for _ in range(500)]
    assert len(sentences) == 500
    for said in sentences:
        assert said[0].isupper()
        assert said.endswith(".")
        assert not any(ugly in said for ugly in (". ", "None", "  ", ",,", " ,", " ;"))


@pytest.mark.parametrize(
    ("week", "said"),
    [
        ({"mon": ("18:00-24:00",)}, "Mon 18:00–24:00"),
        ({"mon": ("18:00-08:00",)}, "Mon 18:00–08:00"),
        (dict.fromkeys(hours.DAYS, ("18:00-08:00",)), "daily 18:00–08:00"),
        (AT_NIGHT, "Mon–Fri 18:00–08:00"),
        ({**AT_NIGHT, **WEEKEND}, "Mon–Fri 18:00–08:00 and all weekend"),
        (
            {**dict.fromkeys(WORKDAYS, ("00:00-08:00", "18:00-24:00")), **WEEKEND},
            "Mon–Fri 18:00–08:00 and all weekend until Mon 08:00",
        ),
        (dict.fromkeys(WORKDAYS, ("00:00-24:00",)), "all of Mon–Fri"),
        (
            {"mon": ("09:00-12:00", "13:00-17:00"), "wed": ("00:00-06:00",)},
            "Mon 09:00–12:00 and 13:00–17:00 and Wed 00:00–06:00",
        ),
        ({}, "at no hour"),
        (dict.fromkeys(hours.DAYS, ("00:00-24:00",)), ""),
    ],
)
def test_hours_are_told_as_people_tell_them(week, said):
    assert week_words.said(hours.canonical(week)) == said


def test_different_hours_are_never_told_alike():
    rng, told = random.Random(8), {}
    edges = ("00:00-08:00", "18:00-24:00", "00:00-24:00", "18:00-08:00")
    for _ in range(1500):
        plain = {day: tuple(rng.sample(edges, rng.randint(0, 2))) for day in hours.DAYS}
        week = hours.canonical(rng.choice([plain, random_hours(rng)]))
        assert told.setdefault(week_words.said(week), week) == week
    assert len(told) > 1000


def test_a_change_of_rules_is_told_field_by_field():
    before = Rules(idle_minutes=5, on_battery=True, gpu_allow=(0,), hours=WEEKEND, gpu="idle")
    after = Rules(idle_minutes=15, on_battery=False, gpu_allow=(), nice=10, gpu="idle")
    assert words.changes(before, after) == [
        "Quiet minutes before training: 5 → 15",
        "Train on battery: yes → no",
        "Allowed hours: all weekend → not set",
        "Niceness: not set → 10",
        "Allowed GPUs: 0 → none",
    ]
    assert words.changes(after, after) == []


@pytest.mark.parametrize(
    ("span", "said"), [(1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (179, "2 minutes")]
)
def test_durations_are_told_in_whole_units(span, said):
    assert phrases.duration(timedelta(seconds=span)) == said


@pytest.mark.parametrize(
    ("days", "said"), [(0, "12:00"), (1, "12:00 on Thu"), (6, "12:00 on Tue"), (7, "12:00 on 17 Jun")]
)
def test_an_instant_is_told_with_its_day_when_it_is_not_today(days, said):
    assert phrases.clock(NOW + timedelta(days=days), NOW) == said
