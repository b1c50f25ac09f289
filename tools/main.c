/* tuff: looks at devices, checks kernels on them and measures them. */
#include "command.h"

#include <tuff/tuff.h>

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    { "info", command_info, "the Vulkan devices that are there, and which one Tuff would choose and why" },
    { "operators", command_operators, "the table of operators, as docs/operators.md shows it" },
#ifdef TUFF_HAVE_OP
    { "op", command_op, "run one operator on tensors from a file, with its gradients; --list names them all" },
#endif
#ifdef TUFF_HAVE_CHECK
    { "check", command_check, "run every kernel on a device and compare it with the reference" },
#endif
    { "bench", command_bench, "measure products, memory-bound work, training, start and overhead" },
};

static void usage(FILE *file) {
    fprintf(file, "usage: tuff COMMAND [options]\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(file, "  %-9s %s\n", commands[i].name, commands[i].help);
    fprintf(file,
            "\n`tuff COMMAND --help` lists a command's options. The environment chooses the device (TUFF_DEVICE:\n"
            "index, name or UUID), validation (TUFF_VALIDATION: 0, 1 or gpu) and forced paths (TUFF_FORCE).\n");
}

int main(int argc, char **argv) {
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("tuff %s\n", tuff_version());
        return 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "tuff: there is no command \"%s\"\n\n", argv[1]);
    usage(stderr);
    return 2;
}
