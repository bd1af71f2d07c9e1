# What several channels have in common, once each is complete: the image's metadata, a page and a view over all of them.


rule join:
    input:
        of_all(rules.finish.output),
    output:
        RUN.joined,
    log:
        str(WHOLE.root / "logs" / "join.log"),
    benchmark:
        str(WHOLE.benchmarks / "join.tsv")
    conda:
        "../../envs/isofield.yaml"
    resources:
        mem_mb=COSTS["finish"].mem_mb,
        runtime=COSTS["finish"].runtime_min,
    params:
        config=joint_sections("join"),
    shell:
        "isofield join {params.config:q} 2>&1 | tee {log:q}"


rule overview:
    input:
        image=rules.join.output,
        reports=of_all(rules.report.output.page),
        metrics=of_all(rules.measure.output.metrics),
    output:
        page=report(
            WHOLE.report,
            caption="../report/page.rst",
            category="Isotropic volume",
            labels={"run": CFG.run.name, "what": "all channels"},
        ),
        viewer=WHOLE.neuroglancer,
    log:
        str(WHOLE.root / "logs" / "overview.log"),
    benchmark:
        str(WHOLE.benchmarks / "overview.tsv")
    conda:
        "../../envs/isofield.yaml"
    resources:
        mem_mb=COSTS["report"].mem_mb,
        runtime=COSTS["report"].runtime_min,
    params:
        config=joint_sections("overview"),
    shell:
        "isofield overview {params.config:q} 2>&1 | tee {log:q}"
