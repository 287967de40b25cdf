from __future__ import annotations

from search.seeds import confirmation_seed, trial_seed


def test_the_same_study_trial_and_stream_give_the_same_seed() -> None:
    assert trial_seed(7, 3, "training") == trial_seed(7, 3, "training")


def test_seeds_differ_between_studies_trials_and_streams() -> None:
    seeds = [
        trial_seed(study, number, stream)
        for study in range(20)
        for number in range(20)
        for stream in ("sampling", "training")
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_final_runs_have_seeds_of_their_own() -> None:
    final = {confirmation_seed(study, index) for study in range(20) for index in range(50)}
    searched = {
        trial_seed(study, number, stream)
        for study in range(20)
        for number in range(500)
        for stream in ("sampling", "training")
    }
    assert len(final) == 20 * 50
    assert not final & searched
    assert confirmation_seed(7, 3) == confirmation_seed(7, 3)
