"""What an evaluation keeps and prints."""


def name_asked(results, num_samples):
    """Name the estimate of the log-likelihood that `--num-samples` asks for, where it does."""
    if not num_samples:
        return
    [row] = [r for r in results["log_likelihoods"] if r["num_samples"] == num_samples]
    results["log_likelihood"] = row["log_likelihood"]
    results["log_likelihood_standard_error"] = row["standard_error"]
    results["num_samples"] = num_samples


def examine(run, model, train, test, scorecard=None):
    """What the doctor finds, as plain data; printed as lines by `report_evaluation`.

    Args:
        run: `Run`.
        model: Its model.
        train, test: Arrays as `fit` takes them.
        scorecard: Optional dict as of `evaluation.scorecard` or `judge_rows`, or one whose
            `obedience` is of `evaluation.obedience`.
    """
    from keras_vae import doctor

    history = run.history()
    epochs = len(next(iter(history.values()), [])) or None
    judged = (
        scorecard if {"diversity", "close_samples", "obedience"} & set(scorecard or ()) else None
    )
    found, left_out = doctor.examine(model, train, test, epochs, history=history, scorecard=judged)
    return {"found": [vars(finding) for finding in found], "left_out": left_out}


def report_evaluation(run, results):
    """Write `evaluation.json` and print it as a table."""
    from keras_vae.evaluation import report

    run.write_json(run.evaluation_path, results)
    for line in report.table(results):
        print(line)
    if "findings" in results:
        findings = results["findings"]
        found = findings["found"]
        first = ": what to mend first comes first" if len(found) > 1 else ""
        print(f"\nDoctor{first}" if found else "\nDoctor: nothing found")
        for finding in found:
            print(f"  {finding['name']}: {finding['text']}\n    {finding['change']}")
        for name, reason in findings["left_out"].items():
            print(f"  {name}, not looked for: {reason}")
    print(run.evaluation_path)
