"""The arithmetic of the benchmark; that it runs is seen in t/bench/run."""

import xml.etree.ElementTree

import pytest

from bench import cases, plot, report, results, servers, targets


def rounds(*cpu, **more):
    return {"rounds": [{"cpu": value} | more for value in cpu], "error": None}


@pytest.fixture
def servers_of_a_case():
    """The module always takes half of what webtransport-go takes."""
    return {"wt": rounds(1, 20, 5), "webtransport-go": rounds(2, 40, 10),
            "wtransport": rounds(20, 20, 30), "floor": rounds(1, 1, 1)}


def test_ratios_are_taken_round_by_round(servers_of_a_case):
    found = results.ratio(servers_of_a_case, "wt", "wtransport", "cpu")
    assert found.median == pytest.approx(5 / 30)
    assert (found.low, found.high) == (pytest.approx(1 / 20), 1)
    assert found.runs == 3


def test_a_missing_round_is_missing_for_both():
    mine, theirs = rounds(1, 2, 3), rounds(10, 20, 30)
    for found in (mine, theirs):
        for number, figures in enumerate(found["rounds"]):
            figures["round"] = number
    del mine["rounds"][1]
    found = results.ratio({"wt": mine, "floor": theirs}, "wt", "floor", "cpu")
    assert found.runs == 2
    assert found.low == found.high == pytest.approx(0.1)


def test_the_best_peer_is_a_library(servers_of_a_case):
    assert results.best_peer(servers_of_a_case, "cpu") == "webtransport-go"


def test_a_case_without_figures_has_no_ratio():
    empty = {"wt": rounds(), "wtransport": rounds(1)}
    assert results.ratio(empty, "wt", "wtransport", "cpu") is None
    assert results.best_peer({"wt": rounds(1)}, "cpu") is None


@pytest.mark.parametrize("limit, met", [(0.49, False), (0.5, True)])
def test_a_target_is_met_at_its_limit(servers_of_a_case, limit, met):
    target = targets.Target("text", "case", "best peer", limit)
    outcome, = targets.evaluate({"case": servers_of_a_case}, [target])
    assert outcome.against == "webtransport-go"
    assert outcome.met == met


def test_a_target_above_another_server_is_a_difference():
    found = {"wt": rounds(0, memory=5000), "nginx-on": rounds(0, memory=4000)}
    target = targets.Target("text", "case", "nginx-on", 1000, metric="memory",
                            above=True)
    outcome, = targets.evaluate({"case": found}, [target])
    assert outcome.measured.median == 1000 and outcome.met


def test_a_target_that_was_not_measured_is_not_met():
    target = targets.Target("text", "case", "best peer", 1)
    outcome, = targets.evaluate({"case": {"wt": rounds(1)}}, [target])
    assert not outcome.met
    assert targets.evaluate({}, [target]) == []


def test_targets_name_what_there_is():
    known = {case.name: case for case in cases.cases()}
    for target in targets.TARGETS:
        case = known[target.case]
        assert target.server in case.servers
        assert target.metric in case.metrics
        assert target.other in (*case.servers, "best peer", "median peer")


@pytest.mark.parametrize("case", cases.cases(), ids=lambda case: case.name)
def test_tables_and_plots_of_every_case(case):
    figures = {"worker": 1e3, "rate": 1e3, "lost": 0.01, "p50": 50, "p99": 99,
               "memory": 5e4, "rest": 1e3}
    found = {name: rounds(1000, 2000, **figures) for name in case.servers}
    found[case.servers[-1]] = {"rounds": [], "error": "fell over"}

    text = report.case_text(case, found)
    assert "FAILED" in text and "fell over" in text
    for name in case.servers:
        assert servers.KINDS[name].title in text

    for key in case.metrics:
        drawing = xml.etree.ElementTree.fromstring(plot.svg(case, found, key))
        labels = [element.text for element in drawing.iter()
                  if element.tag.endswith("text")]
        for name in case.servers[:-1]:
            assert servers.KINDS[name].title in labels


def test_quick_cases_are_those_of_the_module():
    quick = cases.quick_cases()
    assert [case.name for case in quick] == [case.name for case
                                             in cases.cases()]
    for case in quick:
        assert case.servers and not set(case.servers) & set(servers.PEERS)


def test_the_written_part_of_a_document_is_replaced():
    document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    new = report.insert(document, "new\n")
    assert new.startswith("before\n") and new.endswith("\nafter\n")
    assert "new" in new and "old" not in new
    with pytest.raises(ValueError):
        report.insert("nothing marked", "new")
