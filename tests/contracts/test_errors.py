"""The catalogue of the API's errors: complete, and nothing in it that no code raises."""

import pytest

from services.coordinator.http.problems import ProblemError
from shared.contracts.errors import CATALOGUE, reason_phrase
from tests.docs.reference.errors import API_ERRORS, FRAMEWORK, codes


def test_every_code_that_the_api_raises_is_in_the_catalogue():
    assert codes(API_ERRORS) - set(CATALOGUE) == set()


def test_every_code_of_the_catalogue_is_raised():
    assert set(CATALOGUE) - codes(API_ERRORS) - FRAMEWORK == set()


@pytest.mark.parametrize("error", CATALOGUE.values(), ids=lambda error: error.code)
def test_each_error_is_complete(error):
    assert 400 <= error.status < 600
    assert error.title == reason_phrase(error.status)
    assert error.example
    for text in (error.meaning, error.remedy, error.example.partition(": ")[0]):
        assert text


def test_a_problem_takes_status_and_title_from_the_catalogue():
    problem = ProblemError("unknown_run", "There is no run r1.").problem
    assert (problem.status, problem.title, problem.code) == (404, "Not Found", "unknown_run")


def test_a_code_that_is_not_in_the_catalogue_cannot_be_raised():
    with pytest.raises(KeyError):
        ProblemError("unheard_of", "It is new.")
