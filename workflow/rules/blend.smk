rule canvas:
    input:
        plan=rules.plan.output.plan,
    output:
        RUN.canvas,
    log:
        log_of("canvas"),
    benchmark:
        benchmark_of("canvas")
    conda:
        "../../envs/isofield.yaml"
    resources:
        mem_mb=COSTS["canvas"].mem_mb,
        runtime=COSTS["canvas"].runtime_min,
    params:
        config=sections("canvas"),
    shell:
        "isofield canvas {params.config:q} 2>&1 | tee {log:q}"


rule blend:
    input:
        canvas=rules.canvas.output,
        fits=fits_before,
    output:
        RUN.blend_job("{job}"),
    log:
        log_of("blend-{job}"),
    benchmark:
        benchmark_of("blend-{job}")
    conda:
        "../../envs/isofield.yaml"
    threads: CFG.run.threads_per_job
    resources:
        mem_mb=COSTS["blend"].mem_mb,
        runtime=COSTS["blend"].runtime_min,
    params:
        config=sections("blend"),
    shell:
        "isofield blend {params.config:q} --job {wildcards.job} 2>&1 | tee {log:q}"
