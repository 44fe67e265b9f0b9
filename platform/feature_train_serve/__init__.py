"""The reference stack: a lender's credit-risk service, from events to answers, on Ray and KServe.

`simulator` makes the (synthetic) events, `features` turns them into features in batch and on the stream, `train` fits and
packages the model, `serve` answers requests. `python -m feature_train_serve` runs all of it on one machine.
"""
