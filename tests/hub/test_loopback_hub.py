"""The test equipment itself: the real clients find in it the Hub that they know."""

from loopback_hub import LoopbackHub

UPLOAD = """
from functools import partial
from huggingface_hub import HfApi
api = HfApi()
upload = partial(api.upload_file, repo_id="me/data", repo_type="dataset")
api.create_repo("me/data", repo_type="dataset", exist_ok=True)
for name in ("a", "b"):
    upload(path_or_fileobj=name.encode() * 1000, path_in_repo=f"{name}.bin")
upload(path_or_fileobj=b"# card", path_in_repo="README.md")
print(sorted(api.list_repo_files("me/data", repo_type="dataset")))
"""
DOWNLOAD = """
from huggingface_hub import hf_hub_download
from pathlib import Path
print(Path(hf_hub_download("me/data", "b.bin", repo_type="dataset")).read_bytes() == b"b" * 1000)
"""


def test_files_go_up_and_come_back(hub: LoopbackHub, run_client) -> None:
    assert run_client(UPLOAD) == "['.gitattributes', 'README.md', 'a.bin', 'b.bin']"
    assert run_client(DOWNLOAD) == "True"


def test_files_go_up_and_come_back_through_xet(hub: LoopbackHub, run_client) -> None:
    run_client(UPLOAD, xet=True)
    assert not hub.uploads()
    assert run_client(DOWNLOAD, xet=True) == "True"


def test_a_failed_commit_loses_no_object(hub: LoopbackHub, run_client) -> None:
    hub.commit_faults = [500]
    attempt = "try: upload(path_or_fileobj=b'a' * 1000, path_in_repo='a.bin')\nexcept Exception: pass\n"
    failing = UPLOAD.replace("for name", attempt + "for name")
    run_client(failing)
    assert len(hub.uploads()) == len(set(hub.uploads())) == 2


def test_a_commit_on_a_moved_branch_is_refused(hub: LoopbackHub, run_client) -> None:
    code = UPLOAD + (
        "\nfrom huggingface_hub import CommitOperationAdd\n"
        "added = [CommitOperationAdd('c.txt', b'c')]\n"
        "try: api.create_commit('me/data', added, commit_message='c', repo_type='dataset', parent_commit='0' * 40)\n"
        "except Exception as error: print(error.response.status_code)"
    )
    assert run_client(code).splitlines()[-1] == "412"


def test_a_part_of_a_file_is_read_from_xet_too(hub: LoopbackHub, run_client) -> None:
    run_client(UPLOAD, xet=True)
    code = (
        "from huggingface_hub import HfFileSystem\n"
        "with HfFileSystem().open('datasets/me/data/b.bin', block_size=64) as file:\n"
        "    file.seek(900); print(file.read(5) == b'b' * 5)"
    )
    assert run_client(code, xet=True) == "True"
    assert hub.count("GET", "/resolve/") > 0
    assert not hub.uploads()


def test_strangers_see_no_private_repository_and_readers_get_no_gated_file(hub: LoopbackHub, run_client) -> None:
    run_client(UPLOAD)
    code = (
        "from huggingface_hub import HfApi, hf_hub_url\n"
        "def ask(token, call):\n"
        "    try: call(HfApi(token=token)); return 'yes'\n"
        "    except Exception as error: return type(error).__name__\n"
        "info = lambda api: api.dataset_info('me/data')\n"
        "url = hf_hub_url('me/data', 'b.bin', repo_type='dataset')\n"
        "file = lambda api: api.get_hf_file_metadata(url=url)\n"
        "print([ask(token, call) for token in (False, 'hf_read', 'hf_x') for call in (info, file)])"
    )
    held = hub.repositories["dataset", "me/data"]
    held.gated = "manual"
    assert run_client(code) == "['yes', 'GatedRepoError', 'yes', 'GatedRepoError', 'yes', 'yes']"
    held.is_private = True
    missing = "'RepositoryNotFoundError'"
    assert run_client(code) == f"[{missing}, {missing}, {missing}, {missing}, 'yes', 'yes']"
