# SPDX-License-Identifier: Apache-2.0
"""What is raised for a message or image that cannot be used."""

from __future__ import annotations


class InputError(ValueError):
    """A message or image that cannot be used. `reason` is a short key to count it by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
