# A few blocks of a run, or of each channel, with a report each: before all of it is begun.


rule preview_run:
    input:
        plan=rules.plan.output.plan,
        blocks=rules.plan.output.blocks,
        prior=rules.train.output.prior,
    output:
        page=RUN.preview,
        numbers=RUN.preview_numbers,
    log:
        log_of("preview"),
    benchmark:
        benchmark_of("preview")
    conda:
        "../../envs/isofield.yaml"
    threads: CFG.run.threads_per_job
    resources:
        mem_mb=COSTS["fit"].mem_mb,
        runtime=COSTS["train"].runtime_min,
        gpu=1 if CFG.run.device.startswith("cuda") else 0,
    params:
        config=sections("preview"),
    shell:
        "isofield preview {params.config:q} 2>&1 | tee {log:q}"


rule preview:
    input:
        of_all(rules.preview_run.output),
