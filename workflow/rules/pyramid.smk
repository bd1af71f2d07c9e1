rule pyramid:
    input:
        blends=blends_before,
    output:
        RUN.pyramid_job("{job}"),
    log:
        log_of("pyramid-{job}"),
    benchmark:
        benchmark_of("pyramid-{job}")
    conda:
        "../../envs/isofield.yaml"
    resources:
        mem_mb=COSTS["pyramid"].mem_mb,
        runtime=COSTS["pyramid"].runtime_min,
    params:
        config=sections("pyramid"),
    shell:
        "isofield pyramid {params.config:q} --job {wildcards.job} 2>&1 | tee {log:q}"


rule finish:
    input:
        pyramids=of_jobs(RUN.pyramid_job("{job}"), len(JOBS.pyramid)),
        facts=rules.train.output.facts,
    output:
        RUN.finish,
    log:
        log_of("finish"),
    benchmark:
        benchmark_of("finish")
    conda:
        "../../envs/isofield.yaml"
    resources:
        mem_mb=COSTS["finish"].mem_mb,
        runtime=COSTS["finish"].runtime_min,
    params:
        config=sections("finish"),
    shell:
        "isofield finish {params.config:q} 2>&1 | tee {log:q}"
