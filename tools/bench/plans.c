/* tuff bench plans: what training steps are compiled to, and what each fusion and results in place save. Nothing is
 * measured: the figures are the compiler's. */
#include "networks.h"

#include <stdio.h>

/* One more in each row, in the order in which the compiler makes them. */
typedef struct stage {
    const char *name, *force;
} stage;

static const stage stages[] = {
    { "nothing fused", "fuse=none,inplace=none" },
    { "+ epilogues of products", "fuse=epilogue,inplace=none" },
    { "+ chains", "fuse=epilogue+chain,inplace=none" },
    { "+ chains before and behind reductions", "fuse=epilogue+chain+prologue+behind,inplace=none" },
    { "+ results in place", "" },
};
enum { STAGES = sizeof stages / sizeof *stages };

static void print_row(const bench *bench, const network *net, const stage *stage) {
    const double mib = 1.0 / (1 << 20);
    tuff_program_info info;
    tuff_program_get_info(net->program, &info);
    double moved = network_bytes(net) * mib, arena = (double)info.arena_bytes * mib;
    double ratio = (double)info.arena_bytes / (double)info.live_bytes;
    if (bench->options.json)
        printf("{\"bench\": \"plans\", \"shape\": \"%s\", \"device\": \"%s\", \"stage\": \"%s\", "
               "\"dispatches\": %u, \"levels\": %u, \"barriers\": %u, \"arena_mib\": %.3f, "
               "\"arena_to_live\": %.4f, \"moved_mib\": %.3f}\n",
               net->shape, tuff_device_get_info(bench->device)->name, stage->name, info.dispatches, info.levels,
               info.barriers, arena, ratio, moved);
    else
        printf("| %s | %u | %u | %u | %.2f | %.3f | %.1f |\n", stage->name, info.dispatches, info.levels, info.barriers,
               arena, ratio, moved);
}

static bool plan_stage(const bench *bench, const network_kind *kind, const stage *stage) {
    struct bench own = *bench;
    network net = { 0 };
    if (tuff_device_open(&(tuff_device_desc){ .select = bench->options.device, .force = stage->force }, &own.device)
        != TUFF_OK)
        return bench_failed(stage->name);
    bool good = network_open(&own, kind, &net) && network_compile(&net, TUFF_PROFILE_NONE);
    if (good && !bench->options.json && stage == stages)
        printf("\n%s:\n\n| | dispatches | levels | barriers | arena, MiB | of the live bytes | moved, MiB |\n"
               "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
               net.shape);
    if (good) print_row(bench, &net, stage);
    network_close(&net);
    tuff_device_close(own.device);
    return good;
}

static bool plan_network(const bench *bench, const network_kind *kind) {
    bool good = true;
    for (int i = 0; i < STAGES && good; i++) good = plan_stage(bench, kind, &stages[i]);
    return good;
}

bool bench_plans(const bench *bench) {
    return networks_each(bench, plan_network);
}
