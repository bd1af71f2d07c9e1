rule measure:
    input:
        of_jobs(RUN.blend_job("{job}"), JOBS.n_blend),
    output:
        metrics=RUN.metrics,
        blocks=RUN.block_metrics,
    log:
        log_of("measure"),
    benchmark:
        benchmark_of("measure")
    conda:
        "../../envs/isofield.yaml"
    threads: CFG.run.threads_per_job
    resources:
        mem_mb=COSTS["measure"].mem_mb,
        runtime=COSTS["measure"].runtime_min,
    params:
        config=sections("measure"),
    shell:
        "isofield measure {params.config:q} 2>&1 | tee {log:q}"
