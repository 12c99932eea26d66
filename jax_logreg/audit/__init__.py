"""The audit: anyone's hand-written derivatives checked against autodiff, and diagnosed.

Read from the top: ``check`` is the entry and the course of an audit.

    the functions     layout (of θ), user_calls; traced, rolled (loops written out),
                      stepwise (its steps by NumPy); target (the function under test)
    the loss in it    linear_predictor, logistic
    against what      reference (points; autodiff), differences, step_sweep
    how near          quick_check (plain NumPy), compare_entries, judgement
    what is wrong     diagnose; match (does an explanation fit, and how complex is it),
                      patterns (in any numbers), mistakes (the catalogue), match_recipe,
                      links, curvatures (steps of the value), row_factors (Xᵀr), pieces
    what comes out    report
    our own formulas  proof (this project's), text_formulas (those of two texts)
"""
