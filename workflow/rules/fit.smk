rule fit:
    input:
        plan=rules.plan.output.plan,
        blocks=rules.plan.output.blocks,
        prior=rules.train.output.prior,
    output:
        RUN.fit_job("{job}"),
    log:
        log_of("fit-{job}"),
    benchmark:
        benchmark_of("fit-{job}")
    conda:
        "../../envs/isofield.yaml"
    threads: CFG.run.threads_per_job
    resources:
        mem_mb=COSTS["fit"].mem_mb,
        runtime=COSTS["fit"].runtime_min,
        gpu=1 if CFG.run.device.startswith("cuda") else 0,
    params:
        config=sections("fit"),
    shell:
        "isofield fit {params.config:q} --job {wildcards.job} 2>&1 | tee {log:q}"
