"""The failures that a rollout controller meets, by number. Those of metrics, statistics and platforms have tests of their own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from decision_desk import ACCEPTED, CONDEMNED, UNDECIDED, UNKNOWN, Desk
from exhaustive_run import Run
from exhaustive_search import SCENARIOS
from exhaustive_world import Scenario, World

from mlops_obs.rollout.log.phrases import RecordedBudget
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.runbooks.render import render_all

HEALTHY = next(one for one in SCENARIOS if one.name == "healthy")
BAD = next(one for one in SCENARIOS if one.name == "bad at the first step")
FROZEN = RecordedBudget(freeze="promotions are frozen: 3 % left", actions={"availability": "freeze"}, watched=("availability",))

ELSEWHERE = {
    7: {"tests/kubernetes/test_informer.py": (
        "a_watch_that_is_cut_misses_nothing", "a_version_that_the_server_forgot_leads_to_a_new_list",
        "events_that_come_twice_are_told_once",
        "an_older_event_never_replaces_a_newer_object")},
    10: {"tests/rollout/test_evidence_faults.py": (
        "one_missed_scrape_of_everything_makes_one_wider_slice_and_loses_nothing",
        "a_window_without_scrapes_is_missing_and_what_was_counted_in_it_is_nobodys_fault", "prometheus_that_stays_down_stays_unknown")},
    11: {"tests/rollout/test_evidence_faults.py": (
        "an_answer_of_prometheus_that_is_not_whole_is_no_evidence",
        "a_sample_that_is_not_a_number_is_unknown_now_and_a_missing_slice_later",
        "too_many_series_are_unknown_and_the_metric_is_named")},
    12: {"tests/rollout/test_evidence_faults.py": (
        "a_counter_reset_and_a_restarted_pod_count_on", "a_renamed_metric_is_unknown", "a_pod_without_the_bucket_is_unknown_and_not_slow")},
    13: {
        "tests/rollout/test_evidence_faults.py": (
            "without_traffic_slices_are_empty_and_not_missing", "traffic_that_reaches_only_stable_is_told_as_it_is",
            "a_canary_that_was_scaled_to_zero_is_unknown"),
        "tests/rollout/test_judge_attribution.py": ("another_split_is_found_within_five_minutes",)},
    15: {"tests/rollout/test_judge_attribution.py": (
        "an_incident_of_both_arms_is_said_while_it_lasts", "trouble_of_stable_alone_is_not_shared")},
    16: {"tests/rollout/test_judge_harm.py": ("a_cold_cache_is_tolerated_in_the_warm_up_and_not_after_it",)},
    22: {"tests/targets/test_kserve_standard_faults.py": (
        "scenario_22_what_the_status_says_and_the_route_does_not_have_is_not_believed_and_told",
        "scenario_22_plain_ingress_is_refused_before_anything_is_changed")},
    23: {"tests/targets/test_kserve_standard_faults.py": (
        "scenario_23_traffic_waits_for_pods_and_is_left_as_it_is_while_they_do_not_come",
        "scenario_23_the_predictors_minimum_lowered_in_the_middle_does_not_lock_us_out",
        "scenario_23_promotion_waits_until_the_canary_has_the_services_pods")},
    26: {"tests/rollout/test_gates_counting.py": (
        "a_cohort_speaks_once_when_it_is_mature_and_late_labels_change_nothing",
        "labels_that_are_missing_or_few_or_late_give_no_verdict")},
    27: {
        "tests/rollout/test_gates_in_rollouts.py": ("without_the_drift_job_a_rollout_holds_and_says_so",),
        "tests/rollout/test_gates_comparing.py": ("a_drift_job_that_last_scored_before_the_step_says_nothing_about_it",)},
    28: {"tests/targets/test_kuberay_faults.py": ("scenario_28_a_rollback_puts_the_application_back_with_the_cluster_in_one_write",)},
    29: {"tests/targets/test_kserve_llm_faults.py": (
        "scenario_29_a_second_write_that_fails_is_finished_by_asking_again",
        "scenario_29_a_canary_taken_back_from_a_step_is_at_zero_with_the_first_write")},
    30: {
        "tests/rollout/store_contract.py": ("a_long_log_with_huge_records_is_kept_whole_and_in_order",),
        "tests/rollout/test_rollout_store.py": ("a_full_disk_leaves_the_state_as_it_was",)},
}  # fmt: skip


def calls(scenario: Scenario, *names: str) -> list[tuple[int, int]]:
    """Where the calls with these names are in a rollout without faults."""
    run = Run(())
    run.play(World(scenario))
    return [(tick, number) for tick, number, name in run.trace if name in names]


def play(scenario: Scenario, *points: tuple[int, int, str]) -> RolloutState:
    return Run(points).play(World(scenario)).state


@pytest.mark.parametrize("scenario", [HEALTHY, BAD], ids=["healthy", "bad"])
def test_01_a_kill_at_every_write_leads_to_the_same_end(scenario):
    whole = play(scenario)

    for tick, number in calls(scenario, "save", "deploy", "set_weights"):
        for moment in ("crash-before", "crash-after"):
            assert play(scenario, (tick, number, moment)).phase == whole.phase


def test_02_a_kill_between_the_change_and_the_note_of_it_is_repaired():
    for tick, number in calls(BAD, "set_weights"):
        assert play(BAD, (tick, number, "crash-after")).phase == "RolledBack"


def test_03_a_conflict_at_every_write_and_three_in_a_row_delay_and_change_nothing():
    for tick, number in calls(BAD, "save", "deploy", "set_weights"):
        assert play(BAD, (tick, number, "conflict")).phase == "RolledBack"
    desk = Desk().at(20)
    desk.target.fail("set_weights", "conflict", 3)

    assert desk.looks(10, CONDEMNED).phase == "RolledBack"


def test_04_a_timeout_after_the_change_was_applied_is_not_done_twice():
    for tick, number in calls(HEALTHY, "set_weights"):
        world = World(HEALTHY)
        Run(((tick, number, "error-after"),)).play(world)
        assert world.state.phase == "Promoted"


def test_05_a_webhook_that_denies_the_rollback_is_told_and_tried_until_it_gives_in():
    desk = Desk().at(20)
    desk.target.fail("set_weights", "denied", 12)

    stuck = desk.looks(30, CONDEMNED)

    assert "rollback" in desk.notices
    assert "stuck" in desk.notices
    assert (desk.looks(10, CONDEMNED).phase, desk.share) == ("RolledBack", 0)
    assert stuck.goal == "rollback"


def test_06_an_api_server_that_is_away_for_ten_minutes_in_a_rollback_pages_and_the_rollback_is_done_after():
    desk = Desk().at(20)
    desk.target.fail("weights", "down", 300)

    held = desk.looks(300, CONDEMNED)

    assert (held.phase, held.goal) == ("Holding", "rollback")
    assert desk.notices.count("stuck") == 1
    assert (desk.looks(5, CONDEMNED).phase, desk.share) == ("RolledBack", 0)


def test_08_a_controller_that_slept_through_its_lease_writes_nothing_that_lasts():
    for tick, number in calls(BAD, "lease", "save", "weights", "set_weights"):
        assert play(BAD, (tick, number, "takeover")).phase == "RolledBack"


@pytest.mark.parametrize("leap", [-300.0, 300.0, -3600.0, 86_400.0])
def test_09_a_clock_that_leaps_neither_ends_a_rollout_nor_stops_one(leap):
    desk = Desk(on_inconclusive="rollback").at(20)
    desk.now += leap

    after = desk.look(UNDECIDED)

    assert (after.goal, desk.share) == ("forward", 20)
    desk.at(100)
    assert desk.looks(5, ACCEPTED).phase == "Promoted"


def test_09_a_rollback_does_not_wait_for_a_clock_that_was_set_back():
    desk = Desk().at(20)
    desk.target.fail("set_weights", "down", 3)
    desk.looks(2, CONDEMNED)
    desk.now -= 3600.0

    assert desk.looks(10, CONDEMNED).phase == "RolledBack"


def test_14_a_verdict_that_flaps_around_its_bound_raises_only_when_it_is_good_and_lowers_nothing():
    desk, shares = Desk(step_duration_min=5.0).at(20), []
    for number in range(40):
        desk.look((ACCEPTED, UNDECIDED, UNKNOWN)[number % 3])
        shares.append(desk.share)

    assert shares == sorted(shares)
    assert desk.state.goal == "forward"


def test_17_a_split_that_somebody_else_made_is_never_overwritten_on_the_way_up():
    desk = Desk().at(50)
    desk.target.force({"v1": 100})

    held = desk.looks(5, ACCEPTED)

    assert (held.phase, desk.share) == ("Holding", 0)
    assert "someone else changed the traffic" in held.reason


def test_17_a_sync_that_restores_the_split_every_three_minutes_is_called_a_fight():
    desk = Desk(step_duration_min=400.0, deadline=1e6).at(20)
    for _ in range(3):
        desk.target.force({"v1": 100})
        desk.look(UNDECIDED, seconds=90)
        desk.target.force({"v1": 80, "v2": 20})
        desk.look(UNDECIDED, seconds=90)

    held = desk.looks(3, ACCEPTED)

    assert (held.phase, desk.share) == ("Holding", 20)
    assert "changed the split 3 times" in held.reason
    assert [one for one in desk.notices if one.startswith("fight/")]
    assert desk.look(ACCEPTED, "resume").fights == ()


def test_17_git_that_puts_a_rolled_back_canary_back_is_answered_three_times_and_then_left_to_people():
    desk = Desk().at(20)
    desk.looks(5, CONDEMNED)
    answered = []
    for _ in range(5):
        desk.target.force({"v1": 80, "v2": 20})
        desk.look(UNDECIDED, seconds=60)
        answered.append(desk.share)

    assert desk.state.phase == "RolledBack"
    assert answered == [0, 0, 0, 20, 20]
    assert [one for one in desk.notices if one.startswith("guard/")]


def test_18_a_third_version_with_traffic_holds_a_rollout_and_is_left_alone_by_a_rollback():
    desk = Desk().at(20)
    desk.target.packages["v3"] = "/p3"
    desk.target.force({"v1": 60, "v2": 20, "v3": 20})

    held = desk.look(ACCEPTED)
    done = desk.looks(4, CONDEMNED)

    assert held.phase == "Holding"
    assert (done.phase, dict(desk.target._weights)) == ("RolledBack", {"v1": 80, "v2": 0, "v3": 20})


@pytest.mark.parametrize("kinds", [("promote", "abort"), ("abort", "promote"), ("pause", "abort"), ("promote-full", "abort", "resume")])
def test_19_an_abort_that_races_other_requests_and_an_acceptance_wins(kinds):
    desk = Desk().at(20)
    desk.look(ACCEPTED, *kinds)

    assert (desk.looks(4, ACCEPTED).phase, desk.share) == ("Aborted", 0)


def test_19_a_promotion_by_hand_in_the_look_that_proves_harm_does_not_raise_the_traffic():
    desk = Desk().at(20)

    desk.look(CONDEMNED, "promote-full")

    assert desk.share == 0
    assert desk.state.goal == "rollback"


def test_20_without_a_way_back_no_step_is_taken_and_losing_it_is_told():
    desk = Desk().at(20)
    desk.target.lose_way_back("v1", "the revision was collected")

    held = desk.looks(5, ACCEPTED)

    assert (held.phase, desk.share) == ("Holding", 20)
    assert "there is no way back: the revision was collected" in held.reason
    assert [one for one in desk.notices if one.startswith("way-back/")]
    desk.target.restore_way_back("v1")
    desk.at(50)


@pytest.mark.parametrize(("asked", "share"), [("promote", 20), ("promote-full", 100)])
def test_20_a_lost_way_back_is_passed_by_a_full_promote_only_as_its_runbook_says(asked, share):
    desk = Desk(steps=[20, 50, 100]).at(20)
    desk.target.lose_way_back("v1", "the revision was collected")

    desk.look(UNDECIDED, asked)

    assert desk.share == share
    assert "obs rollout promote --full" in render_all()["RolloutWayBackLost.md"]


def test_20_a_rollback_to_a_revision_that_is_gone_pages_at_once_and_is_done_when_it_is_back():
    desk = Desk(watch="1h").at(100)
    desk.target.lose_way_back("v1", "its image cannot be pulled")

    desk.looks(2, CONDEMNED)
    told = list(desk.notices)
    held = desk.looks(40, CONDEMNED)
    desk.target.restore_way_back("v1")

    assert {"rollback", "stuck"} <= set(told)
    assert (held.goal, held.over) == ("rollback", False)
    assert (desk.looks(6, CONDEMNED).phase, desk.share) == ("RolledBack", 0)


def test_21_a_rollback_asked_during_a_rollback_is_tried_at_once_and_only_once():
    desk = Desk().at(20)
    desk.target.fail("set_weights", "down", 4)
    desk.looks(6, CONDEMNED)
    tries = desk.target.calls.count("set_weights")

    desk.look(CONDEMNED, "rollback", seconds=0.1)

    assert desk.target.calls.count("set_weights") == tries + 1
    assert desk.looks(4, CONDEMNED).phase == "RolledBack"


def test_21_a_package_that_was_rolled_back_before_is_not_even_deployed_until_a_person_says_why():
    desk = Desk(digest="sha256:a")
    desk.extra = {"known_bad": "credit-risk-v2-1"}

    held = desk.looks(3)
    let = desk.look(UNDECIDED, "promote")

    assert "was rolled back in credit-risk-v2-1" in held.reason
    assert "promote asked by ada: because" in let.override
    assert desk.target.calls.count("deploy") == 1


def test_24_a_freeze_that_comes_and_goes_within_a_step_holds_and_lets_go_and_a_person_may_pass():
    desk = Desk().at(20)

    held = desk.looks(5, ACCEPTED, budget=FROZEN)
    share = desk.share
    passed = desk.look(ACCEPTED, "promote", budget=FROZEN)
    desk.looks(5, ACCEPTED, budget=FROZEN)
    again = desk.share

    assert "promotions are frozen" in held.reason
    assert (share, again, passed.actor) == (20, 50, "ada")
    desk.at(100)


def test_25_a_pager_that_is_down_delays_no_rollback_and_gets_its_page_once():
    for tick, number in calls(BAD, "deliver"):
        for fault in ("error", "error-after", "crash-after"):
            world = World(BAD)
            Run(((tick, number, fault),)).play(world)

            assert world.delivered.count(f"{world.state.id}/rollback") == 1
            assert world.state.phase == "RolledBack"


def test_the_others_are_tested_where_they_happen():
    mine = {int(name[5:7]) for name in globals() if name.startswith("test_") and name[5:7].isdigit()}

    assert mine | set(ELSEWHERE) == set(range(1, 31))


@pytest.mark.parametrize("number", ELSEWHERE)
def test_a_scenario_that_is_tested_elsewhere_has_a_test_by_that_name(number):
    for place, names in ELSEWHERE[number].items():
        tree = ast.parse((Path(__file__).parents[2] / place).read_text())
        tests = {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}

        assert {f"test_{name}" for name in names} <= tests
