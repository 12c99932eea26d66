"""The audit: anyone's hand-written derivatives checked against autodiff, and diagnosed.

Read from the top: ``check`` is the entry, ``pipeline`` the course of an audit.

    the functions     pytree_layout, user_calls, traced; target (the function under test)
    the loss in it    linear_predictor, logistic
    where             points
    against what      reference (autodiff, finite differences)
    how near          compare_entries, properties
    what is wrong     diagnose; match (does an explanation fit, and how complex is it),
                      patterns (in any numbers), mistakes (the catalogue), match_recipe
    what comes out    report
    our own formulas  proof (this project's), text_formulas (those of two texts)
"""
