from rksearch import results
from rksearch.results.fronts import rk_front
from rksearch.results.summaries import summarise
from tests.helpers.ledgers import full_run


def test_tables_hold_what_the_ledger_holds(tmp_path):
    history = full_run(tmp_path).read()
    trials = results.trials(tmp_path)
    assert list(trials["trial"]) == list(history.trials)
    done = trials[trials["status"] == "complete"].set_index("trial")
    for trial_id, (_, result) in history.trials.items():
        if result.status == "complete":
            assert done.loc[trial_id, "val_error_pct"] == result.epochs[-1].val_error_pct
            assert done.loc[trial_id, "params"] == result.params

    assert (trials["status"] == "failed").any()
    assert trials["witness_agrees"].dtype == "boolean"
    agreed = trials[lambda t: t.witness_agrees]
    assert list(agreed["trial"]) == [
        key for key, (_, result) in history.trials.items() if result.witness and result.witness.agree is True
    ]
    assert {str(trials[name].dtype) for name in ("params", "epochs", "replicate", "val_images")} == {"Int64"}

    archs = results.architectures(tmp_path)
    items = {item.arch: item for item in summarise(history)}
    assert set(archs["arch"]) == set(items)
    assert archs["on_front"].dtype == "boolean"
    assert set(archs[archs["on_front"]]["arch"]) == {item.arch for item in rk_front(items.values())}
    rknet = archs[archs["family"] == "dense_bc"].iloc[0]
    assert rknet["m"] == "_".join(part for part in rknet["arch"].split("-m")[1].split("-")[0].split("_"))

    effects = results.effects(tmp_path)
    assert set(effects["design"]) <= {"equal parameters", "equal MACs", "all else equal"}
    assert (effects["pairs"] > 0).all()
    answered = effects.dropna(subset=["low", "high"])
    assert len(answered) > 0
    assert answered["odds_ratio"].between(answered["low"], answered["high"]).all()
