rule plan:
    input:
        KERNEL,
    output:
        plan=RUN.plan,
        blocks=RUN.blocks,
    log:
        log_of("plan"),
    benchmark:
        benchmark_of("plan")
    conda:
        "../../envs/isofield.yaml"
    resources:
        mem_mb=COSTS["plan"].mem_mb,
        runtime=COSTS["plan"].runtime_min,
    params:
        config=sections("plan"),
        volume=identity_of,
    shell:
        "isofield plan {params.config:q} 2>&1 | tee {log:q}"
