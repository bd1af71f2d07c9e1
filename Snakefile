# The workflow is workflow/Snakefile; with this one `snakemake` can be typed in the repository root.
include: "workflow/Snakefile"


# An included file cannot set the default target.
workflow.default_target = "all"
