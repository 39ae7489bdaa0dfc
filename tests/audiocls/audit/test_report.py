from __future__ import annotations

import json
import re

import numpy as np
import pytest
import soundfile

from audiocls.audit.report import audit_markdown, write_audit
from audiocls.errors import DataError
from audiocls.near_duplicates.pairs import find_near_duplicates
from audiocls.splits.units import wide_unit_findings
from audiocls.waveforms.corpus import collect_corpus

RATE_HZ = 16_000


def speechlike(seed, hz=300.0, room=None, gain=1.0):
    """Bursts of a tone, with pauses in which only the room's noise is heard."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(rng.uniform(0.5, 0.9) * RATE_HZ)) / RATE_HZ
    bursts = 0.3 * np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time) * (np.sin(2 * np.pi * 4 * time) > 0)
    noise = rng.normal(0, 1e-3, len(time))
    if room == "dull":
        noise = np.convolve(noise, np.ones(16) / 4, mode="same")
    return (gain * rng.uniform(0.7, 1.3) * (bursts + noise)).astype(np.float32)


def spoken(seed):
    """A sweep under noise-like loudness: nothing in it comes twice, as in speech."""
    rng = np.random.default_rng(seed)
    time = np.arange(RATE_HZ) / RATE_HZ
    phase = 2 * np.pi * (150 * time + 60 * time**2)
    harmonics = sum(np.sin(k * phase) * rng.uniform(0.3, 1) for k in range(1, 18))
    loudness = np.interp(time, np.linspace(0, 1, 12), rng.uniform(0.1, 1, 12))
    return (0.05 * loudness * harmonics).astype(np.float32)


@pytest.fixture
def audited(tmp_path, list_table, fill_store):
    """A function that makes a corpus of (label, group, samples) and returns its audit, and the JSON."""

    def audit(clips, rate_hz=lambda label: RATE_HZ):
        rows = []
        for i, (label, group, samples) in enumerate(clips):
            path = tmp_path / "clips" / f"{i}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, samples, rate_hz(label))
            rows.append((str(path), label, group))
        manifest = list_table(tmp_path, rows, columns=("path", "label", "group"))
        corpus = collect_corpus(manifest, fill_store(manifest, tmp_path), tmp_path)
        near = find_near_duplicates(corpus.clips, corpus.store)
        report = write_audit(corpus, near, tmp_path / "audit", wide_unit_findings(corpus.clips, near))
        return report, json.loads(report.json.read_text())

    return audit


def two_classes(groups=8, clips=4, **of_class):
    """Clips of two pitches, by the same speakers."""
    return [
        (label, f"speaker-{g}", speechlike(100 * g + 10 * c + n, hz, **of_class.get(label, {})))
        for n, (label, hz) in enumerate((("yes", 300.0), ("no", 900.0)))
        for g in range(groups)
        for c in range(clips)
    ]


def titles(report, severity=None):
    return [f.title for f in report.findings if severity in (None, f.severity)]


def test_nothing_is_said_of_a_corpus_with_nothing_wrong(audited):
    report, facts = audited(two_classes())
    assert report.verdict == "No problem was found."
    assert not report.warns
    assert [c["nuisance"] for c in facts["confounds"]] == ["file format", "duration", "level", "background"]
    assert not any(c["reported"] for c in facts["confounds"])


def test_one_group_a_class_is_a_problem_and_says_what_the_score_will_not_tell(audited):
    clips = [(label, f"speaker-{label}", samples) for label, _, samples in two_classes()]
    report, _ = audited(clips)
    assert report.findings[0].title == "Every class has a single group"
    assert report.findings[0].severity == "problem"
    assert "no, yes" in report.findings[0].text
    assert report.verdict == "The test score does not show how the model performs on new speakers, places or devices."
    assert "single group" in report.line
    assert "\n" not in report.line


def test_one_class_with_one_group_is_a_warning(audited):
    report, _ = audited([*two_classes(), *(("maybe", "ann", speechlike(10_000 + i)) for i in range(8))])
    assert titles(report, "problem") == []
    assert "1 of 3 classes have a single group" in titles(report, "warning")
    assert "may be too optimistic" in report.verdict


def test_a_room_of_its_own_for_each_class_is_heard_in_the_pauses(audited):
    report, _ = audited(two_classes(no={"room": "dull"}))
    assert titles(report, "problem") == ["The pauses alone predict the class"]
    assert report.findings[0].spoils_score


def test_a_file_format_of_its_own_for_each_class_is_a_problem(audited):
    report, _ = audited(two_classes(), rate_hz=lambda label: {"yes": 16_000, "no": 22_050}[label])
    assert "The file format alone predicts the class" in titles(report, "problem")


def test_a_loudness_of_its_own_for_each_class_is_a_warning(audited):
    report, _ = audited(two_classes(no={"gain": 0.1}))
    assert "The loudness of a clip alone predicts the class" in titles(report, "warning")


def test_sounds_without_pauses_are_not_taken_for_their_own_background(audited):
    rng = np.random.default_rng(0)
    hums = [
        (label, f"machine-{i % 8}", (0.3 * np.sin(hz * np.arange(8_000)) + rng.normal(0, 0.01, 8_000)))
        for label, hz in (("low", 0.1), ("high", 0.9))
        for i in range(32)
    ]
    _, facts = audited(hums)
    assert "background" not in [c["nuisance"] for c in facts["confounds"]]


def test_the_same_audio_under_two_labels_is_a_problem_that_names_both_clips(audited):
    same = speechlike(4_711)
    report, facts = audited([*two_classes(), ("yes", "ann", same), ("no", "bob", same)])
    assert titles(report, "problem") == ["1 recording is listed under several labels"]
    (found,) = facts["duplicates"]["sets"]
    assert found["labels"] == ["no", "yes"]
    assert found["groups"] == ["ann", "bob"]
    assert all(name in report.findings[0].text for name in found["clip_ids"])


def test_near_duplicates_stand_apart_from_exact_ones_and_those_under_two_labels_are_named(audited):
    said = spoken(0)
    report, facts = audited([*two_classes(), ("yes", "ann", said), ("yes", "ann", said), ("no", "bob", 0.3 * said)])
    assert len(facts["duplicates"]["sets"]) == 1
    (pair,) = facts["near_duplicates"]
    assert (pair["labels"], pair["groups"]) == (["no", "yes"], ["ann", "bob"])
    assert pair["similarity"] > 0.95
    warnings = {f.title: f.text for f in report.findings if f.severity == "warning"}
    assert " ~ ".join(pair["clip_ids"]) in warnings["1 pair of near-duplicates is listed under several labels"]
    assert "1 pair of near-duplicates is in the corpus" in warnings
    assert "The same recording in several forms" in report.html.read_text()


def test_dc_offsets_are_named_and_silence_is_counted(audited):
    padded = np.pad(speechlike(1), (0, 8 * RATE_HZ))
    offset = speechlike(2) + np.float32(0.03)
    report, facts = audited(
        [*two_classes(), *[("yes", f"speaker-{g}", padded * (1 + g)) for g in range(4)], ("no", "ann", offset)]
    )
    ((clip_id, value),) = facts["corpus"]["dc_offsets"].items()
    assert value == pytest.approx(0.03, abs=0.005)
    assert facts["corpus"]["mostly_silent"] == 4
    texts = {f.title: f.text for f in report.findings}
    assert clip_id in texts["1 of 69 clips have a DC offset"]
    assert "4 of 69 clips are mostly silence" in texts


def test_the_counts_are_those_of_the_corpus(audited):
    report, facts = audited([*two_classes(), ("yes", "ann", np.zeros(8_000))])
    corpus = facts["corpus"]
    assert (corpus["clips"], corpus["groups"], corpus["imbalance_ratio"]) == (64, 8, 1.0)
    assert {row["label"]: (row["clips"], row["groups"]) for row in corpus["classes"]} == {"no": (32, 8), "yes": (32, 8)}
    assert corpus["source_rates_hz"] == {"16000": 64}
    assert corpus["source_channels"] == {"1": 64}
    assert corpus["quarantined"] == {"silent": 1}
    histogram, lengths = corpus["duration_histogram"], corpus["duration_seconds"]
    assert sum(histogram["clips"]) == 64
    assert len(histogram["edges_seconds"]) == len(histogram["clips"]) + 1
    ends = histogram["edges_seconds"][0], histogram["edges_seconds"][-1]
    assert ends == pytest.approx((lengths["least"], lengths["most"]), abs=1e-4)
    assert corpus["hours"] == pytest.approx(sum(row["hours"] for row in corpus["classes"]), abs=1e-5)
    assert titles(report) == ["1 of 9 groups have no usable clip", "1 of 65 clips are in quarantine"]


def test_the_page_needs_nothing_else_and_what_comes_from_the_data_is_escaped(audited):
    evil = '<img src=x onerror="alert(1)">'
    clips = [(label.replace("no", evil), group, samples) for label, group, samples in two_classes()]
    report, _ = audited([*clips, ("$\\bad", "<b>ann</b>", speechlike(9_999)), (evil, "ann", np.zeros(8_000))])
    page = report.html.read_text()
    assert "<img src=x" not in page
    assert "<b>ann" not in page
    assert "&lt;img src=x" in page
    sources = re.findall(r'(?:src|href)="([^"]{0,22})', page)
    assert len(sources) == 5
    assert set(sources) == {"data:image/png;base64,"}
    assert "<script" not in page
    assert page.index(report.verdict) < page.index("data:image")


def test_the_markdown_escapes_labels_and_names_the_page(audited):
    report, _ = audited([(f"<b>{label}</b>", label, samples) for label, _, samples in two_classes()])
    text = audit_markdown(report)
    assert "<b>" not in text
    assert str(report.html) in text


def test_a_corpus_of_one_clip_has_a_page(audited):
    report, facts = audited([("yes", "ann", speechlike(1))])
    assert report.html.exists()
    assert facts["confounds"] == []


def test_no_usable_clip_is_a_mistake_in_the_data(audited):
    with pytest.raises(DataError, match="1 of 1 clip cannot be used"):
        audited([("yes", "ann", np.zeros(8_000))])


def test_copies_that_chain_many_groups_together_are_named_with_the_way_out(audited):
    jingle = spoken(5_000)
    clips = [("yes", f"speaker-{g}", jingle if c == 0 else speechlike(10 * g + c)) for g in range(3) for c in range(3)]
    clips += [("no", f"other-{g}", speechlike(900 + g, hz=900.0)) for g in range(3)]
    report, _ = audited(clips)
    (found,) = [f for f in report.findings if "more than a tenth" in f.title]
    assert found.severity == "warning"
    assert found.title == "Copies link 3 groups with 9 clips, more than a tenth of the corpus"
    assert "3 clips link them" in found.text
    assert "drops copies that would be in two splits" in found.text
