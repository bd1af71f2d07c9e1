rule tidy:
    input:
        image=rules.finish.output,
        metrics=rules.measure.output.metrics,
        verified=rules.verify.output,
    output:
        RUN.tidy,
    log:
        log_of("tidy"),
    benchmark:
        benchmark_of("tidy")
    conda:
        "../../envs/isofield.yaml"
    resources:
        mem_mb=COSTS["tidy"].mem_mb,
        runtime=COSTS["tidy"].runtime_min,
    params:
        config=sections("tidy"),
    shell:
        "isofield tidy {params.config:q} 2>&1 | tee {log:q}"
