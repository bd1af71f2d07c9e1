rule plan:
    output:
        plan=RUN.plan,
        blocks=RUN.blocks,
    log:
        log_of("plan"),
    benchmark:
        benchmark_of("plan")
    params:
        config=sections("plan"),
        volume=VOLUME.identity,
    resources:
        mem_mb=4000,
    conda:
        "../../envs/isofield.yaml"
    shell:
        "isofield plan {params.config:q} 2>&1 | tee {log:q}"
