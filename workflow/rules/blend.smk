rule canvas:
    input:
        plan=rules.plan.output.plan,
    output:
        RUN.canvas,
    log:
        log_of("canvas"),
    benchmark:
        benchmark_of("canvas")
    params:
        config=sections("canvas"),
    conda:
        "../../envs/isofield.yaml"
    shell:
        "isofield canvas {params.config:q} 2>&1 | tee {log:q}"


rule blend:
    input:
        canvas=rules.canvas.output,
        fits=expand(RUN.fit_job("{job}"), job=range(LAYOUT.n_fit_jobs)),
    output:
        RUN.blend_job("{job}"),
    log:
        log_of("blend-{job}"),
    benchmark:
        benchmark_of("blend-{job}")
    params:
        config=sections("blend"),
    threads: CFG.run.threads_per_job
    resources:
        mem_mb=8000,
    conda:
        "../../envs/isofield.yaml"
    shell:
        "isofield blend {params.config:q} --job {wildcards.job} 2>&1 | tee {log:q}"
