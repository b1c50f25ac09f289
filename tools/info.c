/* tuff info: every Vulkan device, what Tuff uses of it, and which one it would choose. */
#include "command.h"

#include <tuff/tuff.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const types[] = { "discrete", "integrated", "virtual", "cpu", "other" };

static void print_bytes(uint64_t bytes) {
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 4) value /= 1024, unit++;
    if (value == (double)(uint64_t)value)
        printf("%.0f %s", value, units[unit]);
    else
        printf("%.1f %s", value, units[unit]);
}

static void print_uuid(const tuff_device_info *info) {
    for (int i = 0; i < 16; i++) printf("%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", info->uuid[i]);
}

static void print_features(const tuff_device_info *info, bool required) {
    printf("  %s\n", required ? "required" : "optional");
    for (uint32_t i = 0; i < info->feature_count; i++) {
        const tuff_device_feature *feature = &info->features[i];
        if (feature->required != required) continue;
        printf("    %-7s %-25s %s\n",
               feature->present ? "yes"
               : required       ? "MISSING"
                                : "no",
               feature->name, feature->use);
    }
}

static void print_device(const tuff_device_info *info) {
    printf("%s %u: %s\n", info->chosen ? "*" : " ", info->index, info->name);
    printf("  %s: %s\n", info->chosen ? "chosen" : "not chosen", info->reason);
    printf("  type %s, driver %s%s%s, Vulkan %u.%u.%u\n", types[info->type], info->driver,
           *info->driver_info ? ", " : "", info->driver_info, info->api_major, info->api_minor, info->api_patch);
    printf("  UUID ");
    print_uuid(info);
    printf("\n  subgroups of %u; shared memory ", info->subgroup_size);
    print_bytes(info->shared_memory);
    printf("; one kernel argument up to ");
    print_bytes(info->max_buffer_range);
    printf("; one allocation up to ");
    print_bytes(info->max_allocation);
    printf("\n");
    for (uint32_t i = 0; i < info->heap_count; i++) {
        printf("  memory heap %u: ", i);
        print_bytes(info->heaps[i].size);
        printf(", of which this process may use ");
        print_bytes(info->heaps[i].budget);
        printf("%s\n", info->heaps[i].device_local ? " (the device's own)" : "");
    }
    print_features(info, true);
    print_features(info, false);
}

/* ---- JSON -------------------------------------------------------------------------------------- */

static void json_string(const char *text) {
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 32)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void json_device(const tuff_device_info *info) {
    printf("{\"index\":%u,\"name\":", info->index);
    json_string(info->name);
    printf(",\"driver\":");
    json_string(info->driver);
    printf(",\"driver_info\":");
    json_string(info->driver_info);
    printf(",\"api\":\"%u.%u.%u\",\"type\":\"%s\",\"uuid\":\"", info->api_major, info->api_minor, info->api_patch,
           types[info->type]);
    print_uuid(info);
    printf("\",\"subgroup_size\":%u,\"shared_memory\":%u,\"max_buffer_range\":%llu,\"max_allocation\":%llu,\"heaps\":[",
           info->subgroup_size, info->shared_memory, (unsigned long long)info->max_buffer_range,
           (unsigned long long)info->max_allocation);
    for (uint32_t i = 0; i < info->heap_count; i++)
        printf("%s{\"size\":%llu,\"budget\":%llu,\"device_local\":%s}", i ? "," : "",
               (unsigned long long)info->heaps[i].size, (unsigned long long)info->heaps[i].budget,
               info->heaps[i].device_local ? "true" : "false");
    printf("],\"features\":[");
    for (uint32_t i = 0; i < info->feature_count; i++) {
        const tuff_device_feature *feature = &info->features[i];
        printf("%s{\"name\":", i ? "," : "");
        json_string(feature->name);
        printf(",\"use\":");
        json_string(feature->use);
        printf(",\"required\":%s,\"present\":%s}", feature->required ? "true" : "false",
               feature->present ? "true" : "false");
    }
    printf("],\"suitable\":%s,\"chosen\":%s,\"reason\":", info->suitable ? "true" : "false",
           info->chosen ? "true" : "false");
    json_string(info->reason);
    printf("}");
}

/* ---- the command ------------------------------------------------------------------------------- */

static int fail(bool json) {
    if (json) {
        printf("{\"error\":");
        json_string(tuff_last_message());
        printf("}\n");
    }
    fprintf(stderr, "tuff info: %s\n", tuff_last_message());
    return 1;
}

int command_info(int argc, char **argv) {
    bool json = false;
    tuff_device_desc desc = { 0 };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--device") == 0 && i + 1 < argc)
            desc.select = argv[++i];
        else {
            bool help = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
            bool cut = strcmp(argv[i], "--device") == 0;
            if (!help)
                fprintf(stderr, cut ? "tuff info: %s needs a value\n\n" : "tuff info: \"%s\" is not an option\n\n",
                        argv[i]);
            fprintf(help ? stdout : stderr,
                    "usage: tuff info [--json] [--device INDEX|NAME|UUID]\n\n"
                    "Lists the Vulkan devices, what Tuff uses of each, and which one it would choose and why.\n"
                    "Exits with 1 if there is none that Tuff can use, or that --device or TUFF_DEVICE means.\n");
            return help ? 0 : 2;
        }
    }
    uint32_t count = 0;
    if (tuff_device_list(&desc, NULL, &count) != TUFF_OK) return fail(json);
    tuff_device_info *infos = calloc(count, sizeof *infos);
    if (!infos) {
        fprintf(stderr, "tuff info: out of memory\n");
        return 1;
    }
    uint32_t room = count;
    if (tuff_device_list(&desc, infos, &count) != TUFF_OK) {
        free(infos);
        return fail(json);
    }
    if (count > room) count = room; /* one was plugged in between the two calls */
    bool chosen = false;
    for (uint32_t i = 0; i < count; i++) chosen = chosen || infos[i].chosen;
    if (json) {
        printf("{\"version\":\"%s\",\"devices\":[", tuff_version());
        for (uint32_t i = 0; i < count; i++) {
            if (i) putchar(',');
            json_device(&infos[i]);
        }
        printf("]}\n");
    } else {
        printf("Tuff %s, %u Vulkan device%s\n", tuff_version(), count, count == 1 ? "" : "s");
        for (uint32_t i = 0; i < count; i++) {
            printf("\n");
            print_device(&infos[i]);
        }
    }
    fflush(stdout); /* what follows stands below it in a pipe, too */
    if (!chosen)
        fprintf(stderr, "%stuff info: none of these devices would be chosen; each says why\n", json ? "" : "\n");
    free(infos);
    return chosen ? 0 : 1;
}
