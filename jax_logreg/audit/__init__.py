"""Proof for anyone's slope: a hand-written derivative held against autodiff, and diagnosed.

Read from the top: ``check`` is the door, ``auditor`` the course of an audit.

    what is audited   layout, calls, program, subject (a value, traced and taken apart)
    where             points
    against what      reference, differences, witnesses, state
    how near          examine, findings, facts
    what is wrong     diagnose, fitting; patterns, orders (in any numbers); anatomy,
                      logistic, penalty, explain, mistakes (in a loss of logits)
    what comes out    report, diagnosis
    our own formulas  proof (this project), text_formulas (the two source texts)
"""
