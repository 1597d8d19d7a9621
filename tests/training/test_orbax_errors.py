"""Errors of Orbax: which are damage, and those of a full disk in one line."""

import errno
import re

import pytest

from mgr_jax.errors import UserError
from mgr_jax.training import orbax_errors


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "(No space left on device)"),
        (OSError(errno.EROFS, "Read-only file system", "/disk/5/x"), "/disk/5/x: the checkpoint"),
        (
            ValueError(
                'PERMISSION_DENIED: Failed writing: "/disk/5/y": Failed to write 556 bytes to file'
                " 28: Permission denied [os_error_code='13']"
            ),
            "/disk/5/y: the checkpoint cannot be written (Permission denied)",
        ),
    ],
)
def test_errors_of_the_disk_are_one_line(error, words):
    with (
        pytest.raises(UserError, match=re.escape(words)),
        orbax_errors.one_line_of_write_errors("/disk"),
    ):
        raise error


def test_other_errors_of_saving_are_raised_as_they_are():
    with (
        pytest.raises(ValueError, match=r"^save is called twice$"),
        orbax_errors.one_line_of_write_errors("/disk"),
    ):
        raise ValueError("save is called twice")


@pytest.mark.parametrize(
    ("error", "is_damage"),
    [
        (MemoryError(), False),
        (OSError(errno.EMFILE, "Too many open files"), False),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (ValueError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"), False),
        (Exception("Error opening 'zarr' driver"), True),
        (ValueError("DATA_LOSS: CRC-32C checksum verification failed"), True),
        (FileNotFoundError(errno.ENOENT, "No such file"), True),
        (OSError(errno.EIO, "Input/output error"), True),
    ],
)
def test_is_damage_only_if_the_files_are_at_fault(error, is_damage):
    assert orbax_errors.is_damage(error) == is_damage
