"""A missing optional part is named together with its extra."""

import pytest

from animeshooter_hf.optional import require


def test_a_missing_module_names_the_extra() -> None:
    with pytest.raises(ImportError, match=r"Drawing needs nope_nope.*animeshooter-hf\[report\]"):
        require("nope_nope", extra="report", purpose="Drawing")


def test_a_module_that_is_there_is_returned() -> None:
    assert require("json", extra="report", purpose="Drawing").dumps([]) == "[]"
