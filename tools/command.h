/* The tuff command: one program, one function for each subcommand, each in a file of its own. */
#ifndef TUFF_TOOLS_COMMAND_H
#define TUFF_TOOLS_COMMAND_H

/* argv[0] is the subcommand's name. They return the exit status: 0 for success, 1 for a failure, 2 for a wrong
 * command line. */
int command_info(int argc, char **argv);
int command_check(int argc, char **argv);
int command_operators(int argc, char **argv);
int command_op(int argc, char **argv);
int command_bench(int argc, char **argv);

#endif
