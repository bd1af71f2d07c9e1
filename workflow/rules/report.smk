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
        mem_mb=4000,
    params:
        config=sections("report"),
    shell:
        "isofield report {params.config:q} 2>&1 | tee {log:q}"
