rule verify:
    input:
        # Before tidy: as long as something may be wrong, fields are worth their place.
        image=COMPLETE,
    output:
        RUN.verified,
    log:
        log_of("verify"),
    benchmark:
        benchmark_of("verify")
    conda:
        "../../envs/isofield.yaml"
    threads: CFG.run.threads_per_job
    resources:
        mem_mb=COSTS["verify"].mem_mb,
        runtime=COSTS["verify"].runtime_min,
        gpu=(
            1
            if CFG.run.device.startswith("cuda") and CFG.verify.recompute_blocks
            else 0
        ),
    params:
        config=sections("verify"),
    shell:
        "isofield verify {params.config:q} 2>&1 | tee {log:q}"
