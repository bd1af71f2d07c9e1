rule report:
    input:
        image=rules.finish.output,
        metrics=rules.measure.output.metrics,
        blocks=rules.measure.output.blocks,
    output:
        page=RUN.report,
        viewer=RUN.neuroglancer,
    log:
        log_of("report"),
    benchmark:
        benchmark_of("report")
    conda:
        "../../envs/isofield.yaml"
    resources:
        mem_mb=COSTS["report"].mem_mb,
        runtime=COSTS["report"].runtime_min,
    params:
        config=sections("report"),
    shell:
        "isofield report {params.config:q} 2>&1 | tee {log:q}"
