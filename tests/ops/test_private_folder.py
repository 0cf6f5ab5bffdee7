"""Code is loaded only from folders that no other user can write to, and only as it was checked."""

import ctypes
import hashlib
import os
import subprocess
import sys

import pytest

from rednet.ops import compiler, library_cache
from rednet.ops.library_cache import load_cached, open_cache, use_private_cache
from rednet.ops.private_folder import SharedError, open_private

OTHER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def private(path, **options):
    """Open and close a folder; return its path without links."""
    folder = open_private(path, **options)
    folder.close()
    return folder.path


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """Two libraries with digests, as the cache holds them: ours answers 42, the planted one 13."""
    folder = tmp_path_factory.mktemp("libraries")
    made = {}
    for answer in (42, 13):
        source = folder / f"{answer}.c"
        source.write_text(f'extern "C" int answer() {{ return {answer}; }}')
        command = [*compiler.find_compiler(), "-x", "c++", "-shared", "-fPIC", str(source)]
        subprocess.run([*command, "-o", str(folder / f"{answer}.so")], check=True)
        body = (folder / f"{answer}.so").read_bytes()
        made[answer] = body + hashlib.sha256(body).digest()
    return made


@pytest.fixture
def cache(tmp_path, libraries):
    """An open cache with the file a.so, which answers 42."""
    path = tmp_path / "cache"
    path.mkdir(mode=0o700)
    plant(path / "a.so", libraries[42])
    folder = open_private(path)
    yield folder
    folder.close()


def plant(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_missing_folders_are_made_private_under_any_umask(tmp_path):
    previous = os.umask(0)
    try:
        path = private(tmp_path / "new" / "cache")
    finally:
        os.umask(previous)
    assert path == tmp_path / "new" / "cache"
    assert [p.stat().st_mode & 0o777 for p in (path, path.parent)] == [0o700] * 2


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o720, 0o702, 0o1770])
def test_a_folder_that_others_can_write(mode, tmp_path):
    folder = tmp_path / "a\x1b[31m"
    (folder / "cache").mkdir(parents=True)
    folder.chmod(mode)
    with pytest.raises(SharedError, match=r"a\\x1b\[31m can be written by (everyone|its group)$"):
        private(folder)
    if mode & 0o1000:  # sticky, like /tmp
        assert private(folder / "cache") == folder / "cache"
        assert private(folder, is_parent=True) == folder
    else:
        with pytest.raises(SharedError):
            private(folder / "cache")
        with pytest.raises(SharedError):
            private(folder / "new")
        assert [path.name for path in folder.iterdir()] == ["cache"]


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1755])
def test_a_folder_of_another_user(mode, tmp_path):
    folder = tmp_path / "theirs"
    (folder / "cache").mkdir(parents=True)
    folder.chmod(mode)
    os.chown(folder, OTHER, OTHER)
    for path in (folder, folder / "cache", folder / "new"):
        with pytest.raises(SharedError, match=f"theirs belongs to another user \\({OTHER}\\)"):
            private(path)


def test_links(tmp_path):
    (tmp_path / "here").mkdir(mode=0o700)
    (tmp_path / "absolute").symlink_to(tmp_path / "here")
    (tmp_path / "relative").symlink_to("here/../here")
    (tmp_path / "dangling").symlink_to("made")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("absolute", "relative"):
        assert private(tmp_path / name / "below") == tmp_path / "here" / "below"
    assert private(tmp_path / "dangling") == tmp_path / "made"
    with pytest.raises(OSError, match="too many symbolic links"):
        private(tmp_path / "loop")


@needs_root
def test_a_link_of_another_user(tmp_path):
    (tmp_path / "here").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("here")
    os.lchown(tmp_path / "link", OTHER, OTHER)
    with pytest.raises(SharedError, match="link is another user's symbolic link"):
        private(tmp_path / "link")


def swap_file(cache, planted):
    plant(cache.path / "new.so", planted).rename(cache.path / "a.so")


def swap_for_link(cache, planted):
    plant(cache.path.parent / "planted.so", planted)
    (cache.path / "a.so").unlink()
    (cache.path / "a.so").symlink_to(cache.path.parent / "planted.so")


def swap_folder(cache, planted):
    cache.path.rename(cache.path.with_name("moved"))
    cache.path.mkdir()
    plant(cache.path / "a.so", planted)


@pytest.mark.parametrize("swap", [swap_file, swap_for_link, swap_folder])
def test_what_was_checked_is_loaded(swap, cache, libraries, monkeypatch):
    """Whatever happens to the path after the file was opened."""
    real = library_cache._read

    def read(descriptor):
        content = real(descriptor)
        swap(cache, libraries[13])
        return content

    monkeypatch.setattr(library_cache, "_read", read)
    assert load_cached(cache, "a.so").answer() == 42


def test_a_folder_that_was_exchanged_after_the_check(cache, libraries):
    swap_folder(cache, libraries[13])
    assert load_cached(cache, "a.so").answer() == 42


def test_each_library_keeps_its_number(cache, libraries):
    """The linker would take a library with the number of an earlier one for that one."""
    plant(cache.path / "b.so", libraries[13])
    loaded = [load_cached(cache, name) for name in ("a.so", "b.so")]
    assert [library.answer() for library in loaded] == [42, 13]


def test_where_there_is_no_proc(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(library_cache, "DESCRIPTORS", tmp_path / "none")
    assert load_cached(cache, "a.so").answer() == 42


@needs_root
def test_a_library_of_another_user(cache):
    os.chown(cache.path / "a.so", OTHER, OTHER)
    assert load_cached(cache, "a.so") is None


# What a stranger does to a folder that two users share. It is entered first: pytest's folders above
# it are closed to others.
ATTACK = """
import os, sys
planted = open(sys.argv[1], "rb").read()
os.setgroups([]); os.setgid({other}); os.setuid({other})
os.rename("cache", "moved")
os.mkdir("cache")
with open("cache/a.so", "wb") as file:
    file.write(planted)
os.chmod("cache/a.so", 0o755)
"""


@needs_root
@pytest.mark.parametrize("shared_by", ["mode", "group", "owner"])
def test_another_user_in_a_shared_parent(shared_by, libraries, tmp_path, monkeypatch):
    """The stranger can exchange the cache; ours is another one from the first try."""
    shared = tmp_path / "shared"
    (shared / "cache").mkdir(parents=True)
    plant(shared / "cache" / "a.so", libraries[42])
    owner = {"mode": (0, 0), "group": (0, OTHER), "owner": (OTHER, 0)}[shared_by]
    os.chown(shared, *owner)
    shared.chmod({"mode": 0o777, "group": 0o775, "owner": 0o755}[shared_by])
    planted = plant(tmp_path / "planted.so", libraries[13])
    monkeypatch.setenv("REDNET_CACHE", str(shared / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    library_cache._say_once.cache_clear()

    def answers():
        with open_cache() as folder:
            assert folder.path == tmp_path / "home" / "rednet"
            return load_cached(folder, "a.so")

    with pytest.warns(RuntimeWarning, match=rf"{shared} .*: compiled kernels are kept in "):
        assert answers() is None
    command = [sys.executable, "-c", ATTACK.format(other=OTHER), str(planted)]
    subprocess.run(command, check=True, cwd=shared)
    assert ctypes.CDLL(str(shared / "cache" / "a.so")).answer() == 13  # the attack succeeded
    assert answers() is None


def test_libraries_that_keep_compiled_code_elsewhere(tmp_path, monkeypatch):
    """As torch.compile does in a folder of /tmp that anybody can make first."""
    monkeypatch.setenv("REDNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SOME_CACHE_DIR", raising=False)
    use_private_cache("SOME_CACHE_DIR", "some", tmp_path / "own")
    assert "SOME_CACHE_DIR" not in os.environ
    use_private_cache("SOME_CACHE_DIR", "some")
    assert os.environ["SOME_CACHE_DIR"] == str(tmp_path / "cache" / "some")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("SOME_CACHE_DIR", str(tmp_path / "open"))
    with pytest.warns(RuntimeWarning, match=r"SOME_CACHE_DIR=.*open is not private: compiled"):
        use_private_cache("SOME_CACHE_DIR", "some")
    assert os.environ["SOME_CACHE_DIR"] == str(tmp_path / "cache" / "some")
