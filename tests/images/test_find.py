from __future__ import annotations

import os
from pathlib import Path

import pytest

from isnet_cli.core.names import fold_name
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.images.find import MAX_PART, collect_images, name_frame, number_keys
from isnet_cli.images.read import read_images


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def keys(images) -> list[str]:
    return [key for key, _ in collect_images(images).images]


def test_nested_folder_mirrors_the_tree_in_sorted_order(tmp_path: Path) -> None:
    tree(tmp_path, "b/2.dcm", "b/1.png", "a.jpg", "b/c/IM0001", "z/1.2.840.5")
    found = collect_images(str(tmp_path))
    assert found.root == tmp_path
    assert [key for key, _ in found.images] == ["a", "b/1", "b/2", "b/c/IM0001", "z/1.2.840.5"]
    assert found.images[1][1] == tmp_path / "b/1.png"


def test_suffix_stays_where_it_tells_two_files_apart(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "a.dcm", "b.PNG", "b", "c.png")
    assert keys(str(tmp_path)) == ["a.dcm", "a.png", "b", "b.PNG", "c"]


def test_keys_differ_also_where_case_is_ignored(tmp_path: Path) -> None:
    tree(tmp_path, "A.png", "a.png", "x.dcm", "X.dcm")
    found = keys(str(tmp_path))
    assert len({key.casefold() for key in found}) == 4
    assert found == keys(str(tmp_path))


def test_frame_keys_never_meet_another_image(tmp_path: Path) -> None:
    tree(tmp_path, "a.dcm", "a_f2.png", "b_f2.png")
    found = keys(str(tmp_path))
    assert found == ["a", "a_f2.png", "b_f2"]
    frames = [name_frame("a", n, 3) for n in range(3)]
    assert frames == ["a_f1", "a_f2", "a_f3"]
    assert not set(frames) & set(found)
    assert name_frame("a", 0, 1) == "a"


def test_hidden_sidecar_and_directory_files_are_left_out(tmp_path: Path) -> None:
    tree(
        tmp_path, ".DS_Store", ".hidden/a.png", "DICOMDIR", "labels.csv", "README.md", "a/Thumbs.db"
    )
    tree(tmp_path, "__MACOSX/a.png", "image", "scan.zip", "report.pdf")
    assert keys(str(tmp_path)) == ["image", "report.pdf", "scan.zip"]


def test_a_run_inside_the_folder_is_left_out(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "a.png",
        "runs/one/run.json",
        "runs/one/isnet.yaml",
        "runs/one/ingest/images/a.png",
    )
    assert keys(str(tmp_path)) == ["a"]


def test_symlink_loops_end_and_links_are_followed(tmp_path: Path) -> None:
    images = tree(tmp_path / "images", "a.png", "sub/b.png")
    (images / "sub" / "loop").symlink_to(images, target_is_directory=True)
    elsewhere = tree(tmp_path / "elsewhere", "c.png")
    (images / "more").symlink_to(elsewhere, target_is_directory=True)
    (images / "again.png").symlink_to(images / "a.png")
    found = collect_images(str(images))
    assert [key for key, _ in found.images] == ["a", "more/c", "sub/b"]


def test_broken_link_and_pipe_become_rows(tmp_path: Path) -> None:
    tree(tmp_path, "a.png")
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = dict(collect_images(str(tmp_path)).images)
    reasons = {}
    for key in ("gone", "pipe"):
        with pytest.raises(UnreadableImage) as caught:
            read_images(found[key])
        reasons[key] = caught.value.reason
    assert reasons == {"gone": "not_a_file", "pipe": "not_a_file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_becomes_a_row(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "closed/b.png")
    (tmp_path / "closed").chmod(0)
    try:
        assert keys(str(tmp_path)) == ["a", "closed"]
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_single_file_and_list_of_files(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png", "b/notes.txt.png")
    assert collect_images(str(tmp_path / "a/1.png")) == (
        tmp_path / "a",
        [("1", tmp_path / "a/1.png")],
    )
    both = [str(tmp_path / "b/1.png"), str(tmp_path / "a/1.png"), str(tmp_path / "a/1.png")]
    found = collect_images(both)
    assert found.root == tmp_path
    assert [key for key, _ in found.images] == ["a/1", "b/1"]


def test_folders_in_a_list_and_patterns(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "b/2.png", "b/deep/3.png", "c/4.png")
    assert keys([str(tmp_path / "a"), str(tmp_path / "b")]) == ["a/1", "b/2", "b/deep/3"]
    assert keys(str(tmp_path / "*" / "[24].png")) == ["b/2", "c/4"]


def test_text_list(tmp_path: Path) -> None:
    tree(tmp_path, "images/a.png", "images/b.dcm", "images/sub/c.png")
    listing = tmp_path / "list.txt"
    listing.write_bytes(
        b"\xef\xbb\xbf# images\r\nimages/b.dcm\r\n\r\n  images/sub  \r\nimages/gone.png\r\n"
    )
    assert keys(str(listing)) == ["b", "gone", "sub/c"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("column", ["path", "Path", "Image Path", "FILENAME"])
def test_table_with_a_path_column(tmp_path: Path, delimiter: str, column: str) -> None:
    tree(tmp_path, "images/a b.png", "images/c.png")
    rows = [
        ["id", column, "label"],
        ["1", "images/c.png", "x"],
        ["2", "images/a b.png", "y"],
        ["3", "", ""],
    ]
    table = tmp_path / "images.csv"
    table.write_text("\ufeff" + "\n".join(delimiter.join(row) for row in rows), encoding="utf-8")
    assert keys(str(table)) == ["a b", "c"]


def test_manifest_of_another_run(tmp_path: Path) -> None:
    images = tree(tmp_path / "images", "p1/a.dcm", "p2/b.png")
    manifest = tmp_path / "run/ingest/manifest.csv"
    manifest.parent.mkdir(parents=True)
    rows = [
        f"{key},{path},{n}"
        for key, path, n in [
            ("p1/a_f1", images / "p1/a.dcm", 0),
            ("p1/a_f2", images / "p1/a.dcm", 1),
            ("p2/b", images / "p2/b.png", 0),
        ]
    ]
    manifest.write_text("\n".join(["key,path,frame", *rows]))
    assert keys(str(manifest)) == ["p1/a", "p2/b"]


def test_manifest_with_hidden_paths_falls_back_to_the_kept_images(tmp_path: Path) -> None:
    tree(tmp_path, "images/0a1b.png", "images/2c3d.png")
    (tmp_path / "manifest.csv").write_text(
        "key,path,image_file\n0a1b,,images/0a1b.png\n2c3d,,images/2c3d.png\n"
    )
    assert keys(str(tmp_path / "manifest.csv")) == ["0a1b", "2c3d"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: str(d / "nowhere"), "no such file or folder"),
        (lambda d: [str(d / "a.png"), str(d / "typo.png")], "typo.png"),
        (lambda d: str(d / "empty"), "no image found"),
        (lambda d: str(d / "bad.csv"), "no column with paths"),
        (lambda d: str(d / "gone.txt"), "none of them exists"),
        (lambda d: [], "no image found"),
    ],
)
def test_errors_name_the_place_and_a_fix(tmp_path: Path, make, words: str) -> None:
    tree(tmp_path, "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.csv").write_text("id,label\n1,x\n")
    (tmp_path / "gone.txt").write_text("x.png\ny.png\n")
    with pytest.raises(IsnetError) as caught:
        collect_images(make(tmp_path))
    assert caught.value.kind == "data"
    assert words in caught.value.message
    assert caught.value.fix


def test_odd_names_give_keys_that_can_be_written_everywhere(tmp_path: Path) -> None:
    long = "x" * 240 + ".dcm"
    tree(tmp_path, 'a:b*"c|d.png', "new\nline.png", long, "é ü 肺.png")
    os.close(os.open(os.fsencode(tmp_path) + b"/bad\xff.png", os.O_CREAT | os.O_WRONLY))
    found = collect_images(str(tmp_path))
    for key, path in found.images:
        key.encode("utf-8")
        assert path.exists()
        assert not set(key) & set('\n:*"|\\<>?')
        assert len(key.encode()) <= MAX_PART
    assert "é ü 肺" in [key for key, _ in found.images]
    assert len({key for key, _ in found.images}) == 5


def test_two_long_names_with_one_beginning_stay_apart(tmp_path: Path) -> None:
    tree(tmp_path, "x" * 200 + "1.dcm", "x" * 200 + "2.dcm")
    assert len(set(keys(str(tmp_path)))) == 2


def test_the_input_is_not_touched(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "b/c.dcm")
    before = sorted((p.as_posix(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    collect_images(str(tmp_path))
    assert sorted((p.as_posix(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before


def test_keys_differ_on_every_file_system_and_hide_nothing(tmp_path: Path) -> None:
    names = [
        "e\u0301.png",
        "\u00e9.png",
        "con.png",
        "s.png/x.png",
        "s_png/x.png",
        "K.png",
    ]
    for name in (*names, "\u212a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    keys = [key for key, _ in collect_images(str(tmp_path)).images]
    assert len({fold_name(key) for key in keys}) == len(keys) == len(names) + 1
    assert "_con" in keys
    assert not any(key.startswith("s.png/") for key in keys)  # `s.png` may be a file of ours


def test_no_key_is_that_of_a_frame_of_another_file() -> None:
    wanted = ["s/a_f1", "s/a", "b", "b_f2", "c_F1", "c"]
    assert number_keys([(key, key) for key in wanted]) == [
        *("s/a_f1", "s/a~2", "b", "b_f2~2", "c_F1", "c~2")
    ]
