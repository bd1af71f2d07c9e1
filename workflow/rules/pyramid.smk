rule pyramid:
    input:
        blends=expand(RUN.blend_job("{job}"), job=range(LAYOUT.n_blend_jobs)),
        facts=rules.train.output.facts,
    output:
        RUN.pyramid,
    log:
        log_of("pyramid"),
    benchmark:
        benchmark_of("pyramid")
    conda:
        "../../envs/isofield.yaml"
    resources:
        mem_mb=4000,
    params:
        config=sections("pyramid"),
    shell:
        "isofield pyramid {params.config:q} 2>&1 | tee {log:q}"
