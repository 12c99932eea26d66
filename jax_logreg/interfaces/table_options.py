"""What the options of a table may be: apart, so that the command line's help loads no library."""

# Data sets that ship inside. Name: (file, target column).
EMBEDDED = {
    "breast-cancer": ("breast_cancer.csv", "diagnosis"),
    "iris": ("iris.csv", "species"),
}
MISSING_POLICIES = ("refuse", "drop", "mean")
# The largest table, as float64 in memory, unless an argument says otherwise.
MAX_BYTES = 2**32
# The most categories of a column that "auto" one-hot encodes, likewise.
MAX_CATEGORIES = 50
