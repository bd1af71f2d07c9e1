rule report:
    input:
        image=rules.finish.output,
        metrics=rules.measure.output.metrics,
        blocks=rules.measure.output.blocks,
    output:
        page=report(
            RUN.report,
            caption="../report/page.rst",
            category="Isotropic volume",
            labels={"run": CFG.run.name, "what": REPORT_OF},
        ),
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
