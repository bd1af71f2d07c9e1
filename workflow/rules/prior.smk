rule train:
    input:
        # What the prior depends on is in params; a new block grid alone does not retrain it.
        plan=ancient(rules.plan.output.plan),
        init=init_of,
    output:
        prior=RUN.prior,
        facts=RUN.prior_facts,
        losses=RUN.prior_losses,
        samples=RUN.prior_samples,
    log:
        log_of("train"),
    benchmark:
        benchmark_of("train")
    conda:
        "../../envs/isofield.yaml"
    threads: CFG.run.threads_per_job
    resources:
        mem_mb=COSTS["train"].mem_mb,
        runtime=COSTS["train"].runtime_min,
        gpu=1 if CFG.run.device.startswith("cuda") else 0,
    params:
        config=sections("train"),
        volume=identity_of,
    shell:
        "isofield train {params.config:q} 2>&1 | tee {log:q}"
